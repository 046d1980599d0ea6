/*
 * gauge: looks what the workers of a pool do, and how long its queue is. Changes nothing but what
 * the roster says was last seen.
 */
#ifndef PREFORKD_GAUGE_H
#define PREFORKD_GAUGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "master/policy.h"

struct board;
struct generation;
struct roster;

struct gauge {
	struct policy_load load; /* of the generation that serves */
	bool working;            /* somebody of any generation has something in hand, or starts */
	size_t hungry;           /* of a command: the listener that wants workers most */
	bool held;               /* a worker inside preforkd that will stay has connections */
	bool leaving;            /* somebody inside preforkd leaves, and may give some away */
};

/* Looks at every worker. current: the generation that serves; NULL: none. board: NULL where no
 * worker runs inside preforkd. */
void gauge_look(const struct roster *roster, const struct generation *current,
	const struct board *board, uint64_t now, struct gauge *out);

/* Looks how large the workers of programs are that have a limit. */
void gauge_weigh(const struct roster *roster);

#endif
