/*
 * poolstate: what a pool knows, for pool.c and quota.c, which change it, for carry.c, which hands
 * it to the next image, and for herald.c, which shows it. Nobody else looks inside. A field that
 * must outlive an upgrade has a row in carry.c.
 */
#ifndef PREFORKD_POOLSTATE_H
#define PREFORKD_POOLSTATE_H

#include <stdint.h>

#include "common/err.h"
#include "master/closing.h"
#include "master/guard.h"
#include "master/handover.h"
#include "master/restart.h"
#include "master/roster.h"
#include "master/tally.h"
#include "master/upkeep.h"

struct board;
struct generation;
struct listen_set;
struct watch_context;

struct pool {
	char name[40];
	const struct watch_context *context;
	struct listen_set *listen;
	struct board *board;      /* NULL until a generation serves inside preforkd */
	struct handover handover; /* none until then */
	int bell;                 /* rung by workers inside preforkd; -1: none until then */
	struct roster roster;
	struct guard guard;
	struct upkeep upkeep;
	struct generation *current; /* NULL: not yet, or no more */
	struct generation *next;    /* NULL: no reload under way */
	struct err failure;         /* why next cannot become current; code 0: nothing yet */
	uint64_t next_patience;     /* ms without one more that is ready, until next is given up */
	uint64_t next_deadline;     /* when that is */
	unsigned next_most;         /* of next were ready at one time */
	struct restart restart;
	struct closing closing;     /* before its workers leave for good */
	struct generation *retired; /* old ones with workers left */
	struct tally tally;
	unsigned looked_at; /* the slot of the program that was looked at last, for the status */
	bool draining;      /* the health check is to fail, though it serves */
};

#endif
