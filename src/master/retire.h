/*
 * retire: take a worker out of service.
 *
 * Workers of applications inside preforkd finish the request in hand when they get SIGTERM, which
 * they take only while they wait. Programs get their stop-signal; after stop-timeout, SIGKILL.
 * Only for pids that spawn() returned and that have not been reaped: they cannot have been reused.
 */
#ifndef PREFORKD_RETIRE_H
#define PREFORKD_RETIRE_H

#include <sys/types.h>

/* Ask it to finish and leave. A stopped process is woken, to see the signal. */
void retire_ask(pid_t pid, int stop_signal);

/* End it and everything in its process group at once. */
void retire_kill(pid_t pid);

/* It is dead but not yet reaped: what it left behind in its process group has no use any more. */
void retire_leftovers(pid_t pid, int signo);

#endif
