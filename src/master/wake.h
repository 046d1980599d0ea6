/*
 * wake: tells when something begins in a pool where nothing was going on.
 *
 * While a pool rests nobody looks at it: its listeners are watched for the next connection, and its
 * workers inside preforkd ring a bell at their next request. Both wake once; then the pool is
 * looked at by time, until it rests again.
 */
#ifndef PREFORKD_WAKE_H
#define PREFORKD_WAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event;
struct event_base;

/* All zero is the right start. */
struct wake {
	struct event_base *base; /* set before anything else is asked */
	struct event *bell;
	bool listening; /* to the bell */
	struct event **connections;
	size_t connection_count; /* 0: the listeners are not watched */
	bool noticed;            /* one of them has woken since wake_noticed() was last asked */
	uint64_t deaf_until;     /* the bell is not heard more often than that */
};

void wake_free(struct wake *w);

/* True once for each time that something woke. */
bool wake_noticed(struct wake *w);

/* Wakes once when a worker rings. bell: eventfd(2), -1: there is none. Returns when to call it
 * again if it cannot listen yet, UINT64_MAX: it does. */
uint64_t wake_hear(struct wake *w, int bell, uint64_t now);

/* Wakes once when a connection waits on one of the listeners. */
void wake_watch(struct wake *w, const int *listeners, size_t count);
/* No longer; before a listener is closed. */
void wake_unwatch(struct wake *w);

#endif
