/*
 * trace: catches a program at the moment when it waits for its next connection (ptrace(2)).
 *
 * The program runs on from one system call to the next until it is about to wait and holds no
 * connection. That call does not take place: it returns EINTR, with the stop-signal pending. To the
 * program a signal has interrupted its accept, which every FastCGI program must handle. Nothing
 * here waits: each stop of the program arrives as a wait status in the master's loop. If the master
 * dies the kernel lets go of the program.
 */
#ifndef PREFORKD_TRACE_H
#define PREFORKD_TRACE_H

#include <stdbool.h>
#include <sys/types.h>

/* Where a program that holds no connection may be told to stop, beside the wait for one. */
enum trace_haste {
	TRACE_NOWHERE,
	TRACE_BLOCKED,  /* in any other call that it is blocked in: it sleeps */
	TRACE_ANYWHERE, /* it has not served yet */
};

struct trace {
	pid_t pid;
	int stop_signal;
	enum trace_haste haste; /* at the next stop; then patience again */
	int error;              /* 0, or what the call that was taken out returns */
};

/* -1 and errno: EPERM where the kernel does not let us, ESRCH when it has gone, ENOSYS on a machine
 * that this file does not know. */
int trace_begin(struct trace *t, pid_t pid, int stop_signal);

/* It has not come to a wait for long: perhaps it is blocked in something else. */
void trace_hurry(struct trace *t);

enum trace_news {
	TRACE_GOES_ON,
	TRACE_CAUGHT, /* told to stop, at the right moment; no longer traced */
	TRACE_FAILED, /* no longer traced, and told nothing */
};

/* The process has stopped with this wait status. holds() says whether it has a connection in hand.
 */
enum trace_news trace_stopped(
	struct trace *t, int status, bool (*holds)(pid_t pid, const void *arg), const void *arg);

#endif
