/*
 * porter: a second thread, which sees to the connections that wait while the worker is busy.
 *
 * The thread that serves is in the application's hands for as long as that likes, and meanwhile
 * cannot read what web servers send on connections that they keep open, or the rest of a request.
 * The porter listens in its place, and gives each connection on which something arrives to a
 * sibling: an idle one takes it at once, otherwise whoever is free first.
 *
 * It is there from the first request that others wait beside, in a pool with room for siblings. It
 * begins to listen when a request has lasted for 10 to 20 ms, which costs the requests that are
 * faster no system call; and it sleeps when a worker has nothing to do, until a request begins
 * beside others again.
 */
#ifndef PREFORKD_PORTER_H
#define PREFORKD_PORTER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "worker/crowd.h"

struct board_seat;
struct job;
struct reception;

enum porter_state { PORTER_SLEEPS, PORTER_WALKS, PORTER_LISTENS };

struct porter {
	const struct job *job;
	const struct board_seat *seat;
	struct reception *reception;
	bool is_there, lent; /* the thread; the reception, to it */
	unsigned refused;    /* how often there could be none */
	pthread_mutex_t key; /* whoever has it may touch the reception */
	atomic_uint turn; /* odd: a request is served beside others; the next number is another */
	_Atomic enum porter_state state;
	int bell, ears;         /* what wakes it; bell and connections, while it listens */
	struct crowd_list gone; /* closed by the porter, and to be freed by the other thread */
};

/* The calling thread has the reception, and serves. */
void porter_init(struct porter *p, const struct job *job, const struct board_seat *seat,
	struct reception *reception);
/* Between these two a request is served, and nobody but the porter may touch the reception, but for
 * its input and the connection that is served. */
void porter_begin(struct porter *p);
void porter_end(struct porter *p);

#endif
