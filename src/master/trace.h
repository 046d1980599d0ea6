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

struct trace {
	pid_t pid;
	int stop_signal;
	bool at_once; /* wherever it is, if it holds no connection: it need not wait for one */
	int error;    /* 0, or what the call that was taken out returns */
};

/* -1 and errno: EPERM where the kernel does not let us, ESRCH when it has gone, ENOSYS on a machine
 * that this file does not know. */
int trace_begin(struct trace *t, pid_t pid, int stop_signal);

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
