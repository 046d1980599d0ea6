/*
 * retire: takes one worker out of service without losing a request.
 *
 * A worker inside preforkd takes SIGTERM between two requests by itself. A program does not: a
 * signal in the middle of a request cuts what it reads or writes. So a program is signalled only at
 * a moment when it holds no connection: trace brings it there, with all its threads and processes;
 * where that is not permitted it is stopped, looked at, and let go on until it holds none.
 */
#ifndef PREFORKD_RETIRE_H
#define PREFORKD_RETIRE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "master/grip.h"
#include "master/trace.h"

enum retire_phase {
	RETIRE_NOT,      /* it serves */
	RETIRE_TRACING,  /* run to the next wait for a connection */
	RETIRE_LOOKING,  /* will be stopped and looked at */
	RETIRE_STOPPING, /* has been sent SIGSTOP; we wait for the stop */
	RETIRE_TOLD,     /* has got its stop-signal */
};

struct retire {
	pid_t pid;
	bool in_process;
	int stop_signal;
	struct grip_listener listener;

	/* private */
	enum retire_phase phase;
	struct trace trace;
	bool untraceable; /* not all of its processes: that was tried */
	uint64_t at;      /* of the next step that is due by time */
	unsigned wait;
};

/* A new worker: whom there will be to retire. listener: the one it takes connections from. */
void retire_init(struct retire *r, pid_t pid, bool in_process, int stop_signal, int listener);

/* It has just become ready: says in the log, once, if programs will have to be retired without
 * a look at what they hold. */
void retire_foresee(const struct retire *r);

/* How programs are retired as far as is known: the worst way that was needed, or will be. */
enum retire_way {
	RETIRE_TRACED,
	RETIRE_STOPPED,   /* one could not be traced: stopped and looked at */
	RETIRE_SIGNALLED, /* not even looked at */
};
enum retire_way retire_way(void);

/* starting: it has not been seen waiting for connections yet, and may never do so. */
void retire_begin(struct retire *r, bool starting, uint64_t now);
/* Is this one of its threads or processes, and traced? The worker itself is always known. */
bool retire_knows(const struct retire *r, pid_t tid);
/* It, or one that it knows, has stopped with this wait status. */
void retire_stopped(struct retire *r, pid_t tid, int status, uint64_t now);
/* One that it knows has died; not the worker itself. */
void retire_lost(struct retire *r, pid_t tid, uint64_t now);
/* Does what is due. Returns when it wants to be called next, UINT64_MAX: when there is news. */
uint64_t retire_follow(struct retire *r, uint64_t now);

/* It is dead: lets go of what is left of it. */
void retire_end(struct retire *r);

void retire_kill(pid_t pid);

/* It is dead but not yet reaped: what it left behind in its process group has no use any more. */
void retire_leftovers(pid_t pid, int signo);

#endif
