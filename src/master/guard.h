/*
 * guard: looks after the listeners that a pool's workers share, and that each of them can spoil for
 * all: shut down, made blocking or non-blocking.
 *
 * Looks when a listener was shut down, and before a worker is started. Puts it right, and says who
 * it was where that can be known.
 */
#ifndef PREFORKD_GUARD_H
#define PREFORKD_GUARD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct event_base;
struct generation;
struct roster;
struct upkeep;

/* All zero is the right start. */
struct guard {
	pid_t died; /* the last one that did */
	uint64_t died_at;
	unsigned deaths; /* that were as close together */

	uint64_t looked_at; /* when a listener that was shut down was last attended to */
	bool wanted;        /* one was, and waits for it */
	bool said_lost, said_mode;
};

struct guard_scene {
	struct event_base *base;
	const struct roster *roster;
	struct generation *current, *next; /* NULL: none */
	struct upkeep *upkeep;
	bool failing; /* workers die as soon as they are started */
};

/* Before workers are started. Returns when it wants to be called next; UINT64_MAX: when something
 * happens. */
uint64_t guard_follow(struct guard *guard, const struct guard_scene *scene, uint64_t now);

/* A worker has died unasked. */
void guard_died(struct guard *guard, pid_t pid, uint64_t now);

#endif
