/*
 * orders: the commands that came through the gate, from when they are asked for until what they
 * asked for has happened or failed.
 *
 * What concerns one pool is done here. The rest is left as a wish to the master, who says what has
 * become of it.
 */
#ifndef PREFORKD_ORDERS_H
#define PREFORKD_ORDERS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/gatejob.h"
#include "master/herald.h"

struct desk;
struct err;
struct fleet;
struct state_in;
struct state_out;

struct order {
	uint64_t id; /* 0: none */
	uint32_t verb, number;
	char pool[GATEJOB_POOL];
	uint32_t from; /* enum desk_line */
	bool begun;
	uint32_t generation; /* SCALE: of the pool, when it began */
	uint64_t deadline;   /* SCALE */
};

struct orders {
	struct desk *desk;
	struct fleet *fleet;
	struct herald herald;

	/* For the master to take note of and clear. */
	bool reload, reopen, stop, upgrade;

	/* private */
	struct order pending[GATEJOB_ORDERS_MAX];
	uint64_t snapshot; /* the request that waits for one; 0: none */
	uint64_t written_at;
};

/* Takes what the gate has sent. */
void orders_take(struct orders *o, uint64_t now);
/* Follows what is under way, and writes the ledger if that was asked for. Returns when it wants to
 * be called next; UINT64_MAX: when something happens. */
uint64_t orders_follow(struct orders *o, uint64_t now);

/* The pool that is to be reloaded next; NULL: none. */
const char *orders_pool(const struct orders *o);
/* What was asked for begins: from now on its end is that of all who have asked for it so far. A
 * reload of all pools is also one of each; pool is NULL where it is not about one. */
void orders_begin(struct orders *o, enum gatejob_verb verb, const char *pool);
void orders_end(
	struct orders *o, enum gatejob_verb verb, enum gatejob_status status, const char *text);
/* Nothing that was asked for will happen any more. */
void orders_refuse(struct orders *o, const char *why);

/* Does the gate of the image before still wait for an answer? */
bool orders_owed(const struct orders *o);
/* The gate that had sent them has died. */
void orders_forget(struct orders *o);

/* For an upgrade. */
void orders_save(const struct orders *o, struct state_out *out);
int orders_restore(struct orders *o, struct state_in *in, struct err *err);

#endif
