/*
 * quota: changes what is wanted; starting what is missing is for the pool.
 */
#include "master/quota.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sysexits.h>

#include "common/board.h"
#include "common/conf.h"
#include "common/err.h"
#include "common/log.h"
#include "master/generation.h"
#include "master/poolstate.h"
#include "master/watch.h"

#define GRACE 1000 /* ms beyond the time that each single worker has */

int quota_make_room(struct pool *pool, unsigned slots, bool in_process, struct err *err)
{
	if (roster_grow(&pool->roster, slots) != 0)
		return err_set(err, EX_OSERR, "pool %s: out of memory", pool->name);
	if (!in_process)
		return 0;
	if (pool->board == NULL)
		pool->board = board_create(pool->roster.slots);
	if (pool->bell < 0 && (pool->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0)
		return err_set(err, EX_OSERR, "pool %s: cannot make an eventfd: %s", pool->name,
			strerror(errno));
	if (handover_open(&pool->handover) != 0)
		return err_set(err, EX_OSERR, "pool %s: cannot make a socket pair: %s", pool->name,
			strerror(errno));
	if (pool->board == NULL || board_grow(pool->board, pool->roster.slots) != 0)
		return err_set(err, EX_OSERR, "pool %s: cannot make its scoreboard: %s", pool->name,
			strerror(errno));
	return 0;
}

unsigned quota_most(const struct generation *g)
{
	return g->want > g->range.max ? g->want : g->range.max;
}

/* The youngest goes: the highest slot of those that serve. */
static void retire_surplus(struct pool *pool, const struct generation *g, uint64_t now)
{
	unsigned serving = roster_count(&pool->roster, g, false);

	for (unsigned s = pool->roster.slots; s > 0 && serving > g->want; s--) {
		struct member *m = &pool->roster.members[s];

		if (m->watch == NULL || m->generation != g || m->outgoing != 0)
			continue;
		serving -= m->watch->state == LIFE_UP || m->watch->state == LIFE_STARTING;
		watch_event(m->watch, LIFE_EV_RETIRE, now);
	}
}

static void want(struct pool *pool, struct generation *g, unsigned workers, uint64_t now)
{
	g->want = workers;
	upkeep_scaled(&pool->upkeep, g->want, now);
	log_notice("pool %s: %u workers wanted", pool->name, g->want);
	retire_surplus(pool, g, now);
}

/* As configured: one that was scaled to its MIN still does. */
static bool follows_load(const struct generation *g)
{
	return g->conf->workers.min < g->conf->workers.max;
}

void quota_step(struct pool *pool, int by, uint64_t now)
{
	struct generation *g = pool->current;
	struct err err;

	if (g == NULL || (by < 0 && g->want <= 1) || (by > 0 && g->want >= CONF_WORKERS_MAX))
		return;
	if (follows_load(g) && (by < 0 ? g->want <= g->range.min : g->want >= g->range.max))
		return;
	if (by > 0 && quota_make_room(
			      pool, 2 * (g->want + 1), g->conf->kind != CONF_COMMAND, &err) != 0) {
		log_err("%s", err.text);
		return;
	}
	want(pool, g, by > 0 ? g->want + 1 : g->want - 1, now);
}

/* A pool that follows the load goes on to do so below its new limit. */
static void limit(struct pool *pool, struct generation *g, unsigned workers, uint64_t now)
{
	g->range.max = workers;
	if (g->range.min > workers)
		g->range.min = workers;
	log_notice("pool %s: %u workers at most", pool->name, workers);
	if (g->want > workers)
		want(pool, g, workers, now);
	else
		upkeep_scaled(&pool->upkeep, g->want, now);
}

int quota_set(struct pool *pool, unsigned workers, uint64_t now, struct err *err)
{
	struct generation *g = pool->current;

	if (g == NULL)
		return err_set(err, EX_UNAVAILABLE, "pool %s does not serve", pool->name);
	if (workers == 0 || workers > CONF_WORKERS_MAX)
		return err_set(err, EX_USAGE, "pool %s can have 1 to %d workers", pool->name,
			CONF_WORKERS_MAX);
	if (g->conf->kind == CONF_COMMAND && workers < g->conf->listen_count)
		return err_set(err, EX_USAGE,
			"%u workers cannot serve the %zu addresses of pool %s: each worker of a "
			"command serves one",
			workers, g->conf->listen_count, pool->name);
	if (quota_make_room(pool, 2 * workers, g->conf->kind != CONF_COMMAND, err) != 0)
		return -1;
	if (follows_load(g)) {
		limit(pool, g, workers, now);
		return 0;
	}
	g->range = (struct conf_range){ workers, workers };
	want(pool, g, workers, now);
	return 0;
}

unsigned quota_generation(const struct pool *pool)
{
	return pool->current != NULL ? pool->current->number : 0;
}

uint64_t quota_patience(const struct pool *pool)
{
	const struct conf_pool *conf = pool->current->conf;

	return GRACE + (conf->start_timeout > conf->stop_timeout ? conf->start_timeout
								 : conf->stop_timeout);
}

/* One that follows the load has its limit at once, but for workers that are too many. */
static bool is_met(const struct pool *pool, unsigned workers)
{
	const struct generation *g = pool->current;

	if (follows_load(g))
		return g->workers <= workers;
	return g->workers == workers && roster_count(&pool->roster, g, true) == workers;
}

static const char *plural(unsigned n)
{
	return n == 1 ? "" : "s";
}

enum quota_progress quota_progress(
	const struct pool *pool, unsigned workers, bool late, char *text, size_t size)
{
	const struct generation *g = pool->current;
	unsigned ready = roster_count(&pool->roster, g, true);
	unsigned asked = follows_load(g) ? g->range.max : g->want;

	if (asked != workers) {
		snprintf(text, size, "another number was asked for meanwhile: %u", asked);
		return QUOTA_MISSED;
	}
	if (is_met(pool, workers)) {
		if (follows_load(g))
			snprintf(text, size, "pool %s has %u worker%s, and will have %u at most",
				pool->name, ready, plural(ready), workers);
		else
			snprintf(text, size, "pool %s has %u worker%s", pool->name, ready,
				plural(ready));
		return QUOTA_MET;
	}
	if (pool->restart.policy.delay > 0 && ready < workers) {
		snprintf(text, size,
			"pool %s: workers fail to start, %u of %u are ready; the next try is "
			"within "
			"%" PRIu64 " ms",
			pool->name, ready, workers, pool->restart.policy.delay);
		return QUOTA_MISSED;
	}
	if (!late)
		return QUOTA_UNDERWAY;
	snprintf(text, size, "pool %s: %u of %u workers are ready, and %u have not left yet",
		pool->name, ready, workers, g->workers - roster_count(&pool->roster, g, false));
	return QUOTA_MISSED;
}
