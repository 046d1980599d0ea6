/*
 * conns: the connections of one of the gate's two sockets: how many there may be, and which one
 * has to go when there are too many.
 */
#ifndef PREFORKD_CONNS_H
#define PREFORKD_CONNS_H

#include <stdbool.h>
#include <stddef.h>

struct conns;
struct event_base;
struct evhttp_request;

/* A whole request has come. surplus: answer that there are too many connections. */
typedef void (*conns_handler)(struct evhttp_request *request, bool surplus, void *arg);

/* Accepts on fd, and serves up to "most" connections. empty is called when the last one has gone
 * after conns_close(). NULL on failure. */
struct conns *conns_open(struct event_base *base, int fd, size_t most, conns_handler handler,
	void (*empty)(void *arg), void *arg);

/* The request is being answered: nothing is added any more. Before the answer is sent. */
void conns_answered(struct conns *all, struct evhttp_request *request);

/* Accepts no more. */
void conns_close(struct conns *all);
/* Then closes those that have no whole request; the others when they are answered. */
void conns_part(struct conns *all);
size_t conns_count(const struct conns *all);

#endif
