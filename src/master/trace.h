/*
 * trace: catches a program at a moment when it waits for its next connection and holds none.
 *
 * All threads of the worker, and of those processes of its own that have the listener, run on from
 * one system call to the next. Who comes to a wait for a connection and holds none is kept there.
 * As soon as nobody holds one and all the others are blocked too, everybody is stopped; then each
 * process gets the stop-signal, and the waits return EINTR without having taken place. To the
 * program a signal has interrupted its accept, which every FastCGI program must handle.
 */
#ifndef PREFORKD_TRACE_H
#define PREFORKD_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* What is asked of one process. */
struct trace_questions {
	bool (*holds)(pid_t pid, const void *arg);   /* has it a connection in hand? */
	bool (*listens)(pid_t pid, const void *arg); /* has it the listener? */
	const void *arg;
};

enum trace_phase {
	TRACE_GATHERING, /* until all wait or are blocked */
	TRACE_STOPPING,  /* nobody holds a connection; until all stand still */
	TRACE_FREEING,   /* not all could be traced: until the others are let go */
};

struct traced;

/* All zero: nothing is traced. */
struct trace {
	pid_t pid; /* the worker */
	int stop_signal;
	bool at_once; /* it has not served yet: told wherever it is, if it dies of that */
	struct trace_questions ask;

	/* private */
	enum trace_phase phase;
	struct traced *list;
	size_t count, room;
};

enum trace_news {
	TRACE_GOES_ON,
	TRACE_CAUGHT, /* told to stop, at the right moment; no longer traced */
	TRACE_FAILED, /* no longer traced, and told nothing */
};

/* The caller has filled pid, stop_signal, at_once and ask. -1 and errno as of tracee_seize(). */
int trace_begin(struct trace *t);
/* Lets go of what is still traced, and tells it nothing. */
void trace_end(struct trace *t);

/* Is this thread one of those? */
bool trace_knows(const struct trace *t, pid_t tid);
/* One of those has stopped with this wait status, or has died. */
enum trace_news trace_stopped(struct trace *t, pid_t tid, int status);
enum trace_news trace_died(struct trace *t, pid_t tid);

/* To be called from time to time: who has not moved from one call to the next is blocked, or is
 * busy with something that is no request. */
enum trace_news trace_hurry(struct trace *t);

#endif
