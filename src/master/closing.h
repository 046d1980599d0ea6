/*
 * closing: the end of a pool begins at its doors. Whoever comes is refused, whoever waits in a
 * queue is served, and only then the workers leave.
 *
 * Looks at listeners and says when; never signals a worker. The pool goes on as ever meanwhile:
 * what dies is replaced, and a queue without a worker gets one.
 */
#ifndef PREFORKD_CLOSING_H
#define PREFORKD_CLOSING_H

#include <stdbool.h>
#include <stdint.h>

struct generation;
struct roster;

enum closing_state {
	CLOSING_NOT,     /* or not any more */
	CLOSING_SERVES,  /* no newcomers; the queues are not empty yet */
	CLOSING_SETTLES, /* they are: somebody may still be between the door and the queue */
};

/* All zero is the right start. */
struct closing {
	enum closing_state state;

	/* private */
	uint64_t since;  /* the doors are closed */
	uint64_t at;     /* of the next look */
	uint64_t pause;  /* ms until the one after it */
	unsigned waited; /* in the queues when it began */
};

/* The pool of that generation closes. */
void closing_begin(struct closing *closing, const struct generation *g, uint64_t now);

/* failing: no worker can be started. True, once: the workers may leave. Else *next is when it wants
 * to be called again, at the latest. */
bool closing_follow(struct closing *closing, const struct generation *g,
	const struct roster *roster, bool failing, uint64_t now, uint64_t *next);
/* The workers leave, without any look if need be; they have what is left of stop-timeout. */
void closing_end(struct closing *closing, const struct generation *g, const struct roster *roster);

/* Between begin and end. */
bool closing_is_underway(const struct closing *closing);
#endif
