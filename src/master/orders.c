/*
 * orders: a small table. What the gate asks for has been checked by the desk; here it meets the
 * state of the daemon.
 */
#include "master/orders.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "common/conf.h"
#include "common/err.h"
#include "common/log.h"
#include "master/desk.h"
#include "master/fleet.h"
#include "master/pool.h"
#include "master/quota.h"
#include "master/state.h"

#define GAP 20 /* ms between two snapshots, whatever the gate wishes */

static const char *const names[] = {
	[GATEJOB_SNAPSHOT] = "snapshot",
	[GATEJOB_RELOAD] = "reload",
	[GATEJOB_RELOAD_POOL] = "reload",
	[GATEJOB_REOPEN] = "reopen",
	[GATEJOB_SCALE] = "scale",
	[GATEJOB_STOP] = "stop",
	[GATEJOB_UPGRADE] = "upgrade",
	[GATEJOB_DRAIN] = "drain",
	[GATEJOB_UNDRAIN] = "undrain",
};

static const struct state_row rows[] = {
	STATE_ROW(NUMBER, struct order, id, UINT64_MAX),
	STATE_ROW(NUMBER, struct order, verb, GATEJOB_VERB_COUNT - 1),
	STATE_ROW(NUMBER, struct order, number, UINT_MAX),
	STATE_ROW(TEXT, struct order, pool, 0),
	STATE_ROW(NUMBER, struct order, begun, 1),
	STATE_ROW(NUMBER, struct order, generation, UINT_MAX),
	STATE_ROW(NUMBER, struct order, deadline, UINT64_MAX),
	STATE_END,
};

static void answer(
	struct orders *o, const struct order *order, enum gatejob_status status, const char *text)
{
	desk_answer(o->desk, (enum desk_line)order->from, order->id, status, text);
}

static void end(struct orders *o, struct order *order, enum gatejob_status status, const char *text)
{
	answer(o, order, status, text);
	order->id = 0;
}

/* False: there is no room for one more. */
static bool keep(struct orders *o, const struct order *order)
{
	for (size_t i = 0; i < GATEJOB_ORDERS_MAX; i++)
		if (o->pending[i].id == 0) {
			o->pending[i] = *order;
			return true;
		}
	return false;
}

static enum gatejob_status status_of(const struct err *err)
{
	return err->code == EX_USAGE ? GATEJOB_WRONG : GATEJOB_FAILED;
}

static void scale(struct orders *o, struct order *order, struct pool *pool, uint64_t now)
{
	char text[GATEJOB_TEXT];
	struct err err;

	if (quota_set(pool, order->number, now, &err) != 0) {
		answer(o, order, status_of(&err), err.text);
		return;
	}
	order->deadline = now + quota_patience(pool);
	order->generation = quota_generation(pool);
	if (keep(o, order))
		return;
	snprintf(text, sizeof(text), "pool %s is told, but too many commands wait", order->pool);
	answer(o, order, GATEJOB_BUSY, text);
}

static void drain(struct orders *o, struct order *order, struct pool *pool, bool drains)
{
	char text[GATEJOB_TEXT];

	pool_drain(pool, drains);
	snprintf(text, sizeof(text), drains ? "pool %s drains" : "pool %s drains no longer",
		order->pool);
	answer(o, order, GATEJOB_DONE, text);
}

static void obey_for_pool(struct orders *o, struct order *order, uint64_t now)
{
	struct pool *pool = fleet_find(o->fleet, order->pool);
	char text[GATEJOB_TEXT];

	if (pool == NULL) {
		snprintf(text, sizeof(text), "there is no pool %s", order->pool);
		answer(o, order, GATEJOB_UNKNOWN, text);
		return;
	}
	log_notice("control: %s of pool %s is asked for", names[order->verb], order->pool);
	if (order->verb == GATEJOB_SCALE)
		scale(o, order, pool, now);
	else if (order->verb != GATEJOB_RELOAD_POOL)
		drain(o, order, pool, order->verb == GATEJOB_DRAIN);
	else if (!keep(o, order))
		answer(o, order, GATEJOB_BUSY, "too many commands wait");
}

static void wish(struct orders *o, struct order *order)
{
	log_notice("control: %s is asked for", names[order->verb]);
	if (!keep(o, order)) {
		answer(o, order, GATEJOB_BUSY, "too many commands wait");
		return;
	}
	o->reload = o->reload || order->verb == GATEJOB_RELOAD;
	o->reopen = o->reopen || order->verb == GATEJOB_REOPEN;
	o->stop = o->stop || order->verb == GATEJOB_STOP;
	o->upgrade = o->upgrade || order->verb == GATEJOB_UPGRADE;
}

static void take_snapshot(struct orders *o, const struct order *order)
{
	if (order->from == DESK_FORMER)
		answer(o, order, GATEJOB_MOVED, "");
	else if (o->snapshot != 0)
		answer(o, order, GATEJOB_BUSY, "another snapshot is asked for");
	else
		o->snapshot = order->id;
}

static void obey(struct orders *o, struct order *order, uint64_t now)
{
	if (order->verb == GATEJOB_SNAPSHOT)
		take_snapshot(o, order);
	else if (o->herald.phase == LEDGER_STOPPING && order->verb != GATEJOB_STOP &&
		 order->verb != GATEJOB_REOPEN)
		answer(o, order, GATEJOB_FAILED, "preforkd is stopping");
	else if (order->pool[0] != '\0')
		obey_for_pool(o, order, now);
	else
		wish(o, order);
}

void orders_take(struct orders *o, uint64_t now)
{
	struct gatejob_request request;
	enum desk_line from;

	while (desk_receive(o->desk, &from, &request, now)) {
		struct order order = { .id = request.id,
			.verb = request.verb,
			.number = request.number,
			.from = from };

		memcpy(order.pool, request.pool, sizeof(order.pool));
		obey(o, &order, now);
	}
}

static void follow_scale(struct orders *o, struct order *order, uint64_t now)
{
	struct pool *pool = fleet_find(o->fleet, order->pool);
	char text[GATEJOB_TEXT];

	if (pool == NULL) {
		end(o, order, GATEJOB_FAILED, "the pool was removed meanwhile");
		return;
	}
	if (quota_generation(pool) != order->generation) {
		end(o, order, GATEJOB_FAILED,
			"a reload has set the number of workers as configured meanwhile");
		return;
	}
	switch (quota_progress(pool, order->number, now >= order->deadline, text, sizeof(text))) {
	case QUOTA_MET:
		end(o, order, GATEJOB_DONE, text);
		break;
	case QUOTA_MISSED:
		end(o, order, GATEJOB_FAILED, text);
		break;
	case QUOTA_UNDERWAY:
		break;
	}
}

static uint64_t follow_snapshot(struct orders *o, uint64_t now)
{
	struct herald_gate gate = { desk_pid(o->desk), desk_restarts(o->desk) };
	struct order order = { .id = o->snapshot, .from = DESK_NOW };

	if (o->snapshot == 0)
		return UINT64_MAX;
	if (now < o->written_at + GAP)
		return o->written_at + GAP;
	o->snapshot = 0;
	o->written_at = now;
	if (desk_ledger(o->desk) == NULL)
		return UINT64_MAX;
	if (herald_write(&o->herald, &gate, desk_ledger(o->desk), now) == 0)
		answer(o, &order, GATEJOB_DONE, "");
	else
		answer(o, &order, GATEJOB_FAILED, "the master is out of memory");
	return UINT64_MAX;
}

uint64_t orders_follow(struct orders *o, uint64_t now)
{
	uint64_t next = UINT64_MAX;

	for (size_t i = 0; i < GATEJOB_ORDERS_MAX; i++) {
		struct order *order = &o->pending[i];

		if (order->id != 0 && order->verb == GATEJOB_SCALE)
			follow_scale(o, order, now);
		if (order->id != 0 && order->verb == GATEJOB_SCALE && order->deadline < next)
			next = order->deadline;
	}
	uint64_t snapshot = follow_snapshot(o, now);
	return snapshot < next ? snapshot : next;
}

const char *orders_pool(const struct orders *o)
{
	for (size_t i = 0; i < GATEJOB_ORDERS_MAX; i++)
		if (o->pending[i].id != 0 && o->pending[i].verb == GATEJOB_RELOAD_POOL)
			return o->pending[i].pool;
	return NULL;
}

/* A reload of all pools, too, is what was asked for by one who wants one pool reloaded. */
static bool concerns(const struct order *order, enum gatejob_verb verb)
{
	return order->id != 0 &&
	       (order->verb == verb ||
		       (verb == GATEJOB_RELOAD && order->verb == GATEJOB_RELOAD_POOL));
}

void orders_begin(struct orders *o, enum gatejob_verb verb, const char *pool)
{
	for (size_t i = 0; i < GATEJOB_ORDERS_MAX; i++) {
		struct order *order = &o->pending[i];

		if (concerns(order, verb) && (pool == NULL || strcmp(order->pool, pool) == 0))
			order->begun = true;
	}
}

void orders_end(
	struct orders *o, enum gatejob_verb verb, enum gatejob_status status, const char *text)
{
	for (size_t i = 0; i < GATEJOB_ORDERS_MAX; i++)
		if (concerns(&o->pending[i], verb) && o->pending[i].begun)
			end(o, &o->pending[i], status, text);
}

void orders_refuse(struct orders *o, const char *why)
{
	for (size_t i = 0; i < GATEJOB_ORDERS_MAX; i++)
		if (o->pending[i].id != 0)
			end(o, &o->pending[i], GATEJOB_FAILED, why);
}

bool orders_owed(const struct orders *o)
{
	for (size_t i = 0; i < GATEJOB_ORDERS_MAX; i++)
		if (o->pending[i].id != 0 && o->pending[i].from == DESK_FORMER)
			return true;
	return false;
}

void orders_forget(struct orders *o)
{
	o->snapshot = 0;
	for (size_t i = 0; i < GATEJOB_ORDERS_MAX; i++)
		if (o->pending[i].from == DESK_NOW)
			o->pending[i].id = 0;
}

void orders_save(const struct orders *o, struct state_out *out)
{
	for (size_t i = 0; i < GATEJOB_ORDERS_MAX; i++)
		if (o->pending[i].id != 0 && o->pending[i].from == DESK_NOW)
			state_put(out, "order", rows, &o->pending[i]);
}

int orders_restore(struct orders *o, struct state_in *in, struct err *err)
{
	while (state_has(in, "order")) {
		struct order order = { .from = DESK_FORMER };

		if (state_take(in, "order", rows, &order, err) != 0)
			return -1;
		if (order.id != 0)
			keep(o, &order);
	}
	return 0;
}
