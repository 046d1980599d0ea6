/*
 * reception: takes connections in, from listeners and siblings, lets them wait, gives them away.
 *
 * All that a worker waits for is in its epoll set. It never serves a request, and never waits but
 * in reception_wait(), and for a moment where descriptors are short.
 */
#ifndef PREFORKD_RECEPTION_H
#define PREFORKD_RECEPTION_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "common/conf.h"
#include "worker/conn.h"
#include "worker/crowd.h"
#include "worker/youth.h"

struct job;

#define RECEPTION_EVENTS 16
#define RECEPTION_CROWDED_MS 10 /* until siblings are tried again */
#define RECEPTION_SILENT_MS 500 /* for the first byte, when we leave and nobody stays */

/* What an event is about. Those with connections come first, in the order of their rank. */
enum reception_source {
	RECEPTION_HANDOVER,
	RECEPTION_LISTENER,
	RECEPTION_CONN,
	RECEPTION_SIGNAL,
	RECEPTION_LIFELINE,
	RECEPTION_ACCESSLOG
};

struct reception {
	const struct job *job;
	int epoll;
	unsigned most;  /* connections in the crowd */
	unsigned roles; /* of FastCGI, that the application serves */
	bool resting;   /* nothing new is taken in, and what is here goes to siblings */
	bool leaving;   /* the same, and what is idle is closed where there are none */
	bool alone;     /* there are none */
	struct youth youth;
	bool remote[CONF_LISTEN_MAX]; /* the listeners that take connections over TCP */
	unsigned gifts;               /* what may go to siblings though it could wait here */
	uint64_t gifts_at;            /* ms: when they were counted */
	bool left; /* we alone know of something that others could take in, too */
	struct crowd crowd;
	struct crowd_list *gone; /* of a thread that may free nothing, for what it drops; or NULL */
	struct conn_input input; /* of the connection that was read last */
	uint8_t parcel[CONN_RAW]; /* what a sibling had read */
};

/* Listeners and handover of the job are in the set then. -1 with errno on failure. */
int reception_open(struct reception *r, const struct job *job);
/* Which one of the job's listeners it is. */
size_t reception_index(const struct reception *r, int listener);
/* Puts a descriptor into the set, takes it out again. */
int reception_watch(
	const struct reception *r, int fd, enum reception_source source, uint32_t flags);
void reception_ignore(const struct reception *r, int fd);

/* At most RECEPTION_EVENTS; what has arrived before is an event, too. limit: ms; -1: none. */
int reception_wait(struct reception *r, struct epoll_event *events, int limit);
enum reception_source reception_source(const struct epoll_event *event);
int reception_fd(const struct epoll_event *event);
/* Makes one, of what may have happened. */
void reception_expect(struct epoll_event *event, enum reception_source source, int fd);
/* The connection behind an event, not read yet. NULL: none. */
struct conn *reception_connection(struct reception *r, const struct epoll_event *event);
/* A new connection, or one that a sibling gave away. NULL: none. */
struct conn *reception_accept(struct reception *r, int listener);
struct conn *reception_receive(struct reception *r, int handover);

/* Reads what there is. Returns it if the head of a request is complete, with the rest in r->input,
 * and in no list any more; else it is looked after, and NULL. */
struct conn *reception_read(struct reception *r, struct conn *c);

/* What becomes of a connection that is not served, or not any more. */
void reception_drop(struct reception *r, struct conn *c);
void reception_linger(struct reception *r, struct conn *c);
void reception_put_back(struct reception *r, struct conn *c); /* kept, for the next request */
/* A sibling gets it, with what we have read of it. False: it is still ours. */
bool reception_give(struct reception *r, struct conn *c);
/* May something be given away now that could wait here? slow: requests are, so that it is worth
 * more than it costs. */
bool reception_is_generous(struct reception *r, bool slow);
/* A sibling gets what is behind the event; or it stays where it is, if we are not generous. */
void reception_pass_on(struct reception *r, const struct epoll_event *event, bool generous);
/* Those whose time is over are closed. */
void reception_expire(struct reception *r);

/* Siblings get all that they can have. True: some has to wait until they have taken the others. */
bool reception_offer(struct reception *r);
/* Nothing new is taken in any more, and what is here is offered. */
void reception_rest(struct reception *r);
/* At rest: a sibling gets what is behind the event. Returns a connection that has a whole request,
 * and that no sibling can have: more of it has been read than can be handed over. */
struct conn *reception_give_up(struct reception *r, const struct epoll_event *event);

#endif
