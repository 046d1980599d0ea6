/*
 * upkeep: keeps the workers of one pool as many, as young and as quick as its configuration says:
 * follows the load (MIN..MAX), recycles, and ends requests that take too long.
 *
 * A pool that rests costs nothing; one where something goes on is looked at by time, never once for
 * each request.
 */
#ifndef PREFORKD_UPKEEP_H
#define PREFORKD_UPKEEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "master/policy.h"
#include "master/wake.h"

struct board;
struct generation;
struct handover;
struct roster;

struct upkeep {
	size_t hungry; /* of a command: the listener that wants the next worker; SIZE_MAX: any */

	/* private */
	struct wake wake;
	const struct generation *generation; /* the one that demand is about */
	struct policy_demand demand;
	struct policy_load last;
	uint64_t look_at, weigh_at, worked_at;
	uint64_t pause; /* ms between two looks while nothing changes */
};

/* What there is to look after. */
struct upkeep_scene {
	struct event_base *base;
	const struct roster *roster;
	struct generation *current; /* want follows the load; NULL: no generation serves */
	const struct board *board;  /* NULL: no worker runs inside preforkd */
	const struct handover *handover;
	int bell;         /* eventfd(2); -1: none */
	bool failing;     /* in a back-off */
	bool replaceable; /* another worker could be started: no wait after a failure, no reload */
};

void upkeep_init(struct upkeep *u);
void upkeep_free(struct upkeep *u);

/* Returns when it wants to be called next; UINT64_MAX: when something happens. */
uint64_t upkeep_follow(struct upkeep *u, const struct upkeep_scene *scene, uint64_t now);

/* The number that is wanted was changed by hand. */
void upkeep_scaled(struct upkeep *u, unsigned want, uint64_t now);

/* The listeners may be closed after this. */
void upkeep_leave(struct upkeep *u);

#endif
