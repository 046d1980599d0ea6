/*
 * pool: generations of workers.
 *
 * At most twice the configured workers live at any time, whatever is going on. Back-off belongs to
 * the pool: trouble in one never delays another.
 */
#include "master/pool.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/board.h"
#include "common/conf.h"
#include "common/err.h"
#include "common/log.h"
#include "master/accessfile.h"
#include "master/closing.h"
#include "master/generation.h"
#include "master/guard.h"
#include "master/handover.h"
#include "master/listen.h"
#include "master/muster.h"
#include "master/obituary.h"
#include "master/output.h"
#include "master/policy.h"
#include "master/poolstate.h"
#include "master/quota.h"
#include "master/restart.h"
#include "master/retire.h"
#include "master/roster.h"
#include "master/spawn.h"
#include "master/tally.h"
#include "master/upkeep.h"
#include "master/watch.h"

#define DEADLINE_GRACE 1000 /* ms beyond the time that each single worker has */

struct pool *pool_new(
	const char *name, const struct watch_context *context, struct listen_set *listeners)
{
	struct pool *pool = calloc(1, sizeof(*pool));

	if (pool == NULL)
		return NULL;
	snprintf(pool->name, sizeof(pool->name), "%s", name);
	pool->context = context;
	pool->listen = listeners;
	pool->handover = (struct handover)HANDOVER_NONE;
	pool->bell = -1;
	upkeep_init(&pool->upkeep);
	return pool;
}

void pool_free(struct pool *pool)
{
	generation_close(pool->current);
	generation_close(pool->next);
	for (struct generation *g = pool->retired, *next; g != NULL; g = next) {
		next = g->next_retired;
		generation_close(g);
	}
	upkeep_free(&pool->upkeep);
	board_destroy(pool->board);
	handover_end(&pool->handover);
	if (pool->bell >= 0)
		close(pool->bell);
	roster_free(&pool->roster);
	free(pool);
}

const char *pool_name(const struct pool *pool)
{
	return pool->name;
}

/* As many as the load has made of the generation before. */
static unsigned first_want(const struct pool *pool, const struct conf_range *range)
{
	unsigned now = pool->current != NULL ? pool->current->want : range->min;

	if (now < range->min)
		return range->min;
	return now < range->max ? now : range->max;
}

int pool_prepare(struct pool *pool, const struct conf_pool *conf, unsigned number, uint64_t now,
	struct err *err)
{
	unsigned most = conf->workers.max;
	uint64_t patience = conf->start_timeout;

	if (pool->current != NULL && quota_most(pool->current) > most)
		most = quota_most(pool->current);
	const struct generation *current = pool->current;
	/* The slots may still be taken by those that the reload before has retired, or by those
	 * that are being replaced. */
	if (current != NULL && current->workers > roster_count(&pool->roster, current, false))
		patience += current->conf->start_timeout + current->conf->stop_timeout;
	for (const struct generation *g = pool->retired; g != NULL; g = g->next_retired)
		if (patience < conf->start_timeout + g->conf->stop_timeout)
			patience = conf->start_timeout + g->conf->stop_timeout;
	if (quota_make_room(pool, 2 * most, conf->kind != CONF_COMMAND, err) != 0)
		return -1;
	pool->next = generation_open(conf, number, pool->listen, err);
	if (pool->next == NULL)
		return -1;
	pool->next->want = first_want(pool, &conf->workers);
	pool->failure.code = 0;
	pool->next_patience = patience + DEADLINE_GRACE;
	pool->next_deadline = now + pool->next_patience;
	pool->next_most = 0;
	/* A reload is the administrator's word that things are different now. */
	pool->restart.policy.delay = 0;
	return 0;
}

unsigned pool_ready(const struct pool *pool)
{
	return roster_count(&pool->roster, NULL, true);
}

enum pool_progress pool_progress(const struct pool *pool, struct err *err)
{
	if (pool->next == NULL)
		return POOL_PREPARED;
	if (pool->failure.code != 0) {
		*err = pool->failure;
		return POOL_FAILED;
	}
	return roster_count(&pool->roster, pool->next, true) >= pool->next->want ? POOL_PREPARED
										 : POOL_PENDING;
}

static void retire_members(struct pool *pool, const struct generation *g, uint64_t now)
{
	for (unsigned s = 1; s <= pool->roster.slots; s++)
		if (pool->roster.members[s].watch != NULL &&
			pool->roster.members[s].generation == g)
			watch_event(pool->roster.members[s].watch, LIFE_EV_RETIRE, now);
}

/* Out of service: its workers retire, and it is freed with the last of them. */
static void retire_generation(struct pool *pool, struct generation *g, uint64_t now)
{
	retire_members(pool, g, now);
	generation_leave(g);
	g->next_retired = pool->retired;
	pool->retired = g;
}

static void bury_generations(struct pool *pool)
{
	for (struct generation **at = &pool->retired, *g; (g = *at) != NULL;) {
		if (g->workers > 0) {
			at = &g->next_retired;
			continue;
		}
		*at = g->next_retired;
		generation_close(g);
	}
}

static bool same_user(const struct conf_pool *a, const struct conf_pool *b)
{
	const char *x = a->chroot != NULL ? a->chroot : "", *y = b->chroot != NULL ? b->chroot : "";

	return a->uid == b->uid && a->gid == b->gid && strcmp(x, y) == 0;
}

void pool_commit(struct pool *pool, uint64_t now)
{
	if (pool->next == NULL)
		return;
	/* Programs take no connections but from a listener; and none goes from user to user. */
	if (pool->next->conf->kind == CONF_COMMAND ||
		(pool->current != NULL && !same_user(pool->current->conf, pool->next->conf)))
		handover_end(&pool->handover);
	upkeep_leave(&pool->upkeep);
	if (pool->current != NULL)
		retire_generation(pool, pool->current, now);
	pool->current = pool->next;
	pool->next = NULL;
	generation_enter(pool->current);
}

void pool_abort(struct pool *pool, uint64_t now)
{
	if (pool->next == NULL)
		return;
	retire_generation(pool, pool->next, now);
	pool->next = NULL;
}

void pool_stop(struct pool *pool, uint64_t now)
{
	pool_abort(pool, now);
	if (pool->current != NULL && !closing_is_underway(&pool->closing))
		closing_begin(&pool->closing, pool->current, now);
}

static void end_closing(struct pool *pool, uint64_t now)
{
	handover_end(&pool->handover);
	upkeep_leave(&pool->upkeep);
	retire_generation(pool, pool->current, now);
	closing_end(&pool->closing, pool->current, &pool->roster);
	pool->current = NULL;
}

static uint64_t follow_closing(struct pool *pool, uint64_t now)
{
	uint64_t next = UINT64_MAX;

	if (closing_is_underway(&pool->closing) &&
		closing_follow(&pool->closing, pool->current, &pool->roster,
			pool->restart.policy.delay > 0, now, &next))
		end_closing(pool, now);
	return next;
}

void pool_cut(struct pool *pool, uint64_t now)
{
	if (closing_is_underway(&pool->closing))
		end_closing(pool, now);
	for (unsigned s = 1; s <= pool->roster.slots; s++)
		if (pool->roster.members[s].watch != NULL)
			watch_event(pool->roster.members[s].watch, LIFE_EV_CUT, now);
}

int pool_reopen(struct pool *pool, struct err *err)
{
	int rc = 0;
	struct generation *const serving[] = { pool->current, pool->next, pool->retired };

	for (size_t i = 0; i < 3; i++)
		for (struct generation *g = serving[i]; g != NULL; g = g->next_retired)
			if (generation_reopen(g, err) != 0)
				rc = -1;
	if (pool->board != NULL)
		board_reopened(pool->board);
	for (size_t i = 0; i < 3; i++)
		for (struct generation *g = serving[i]; g != NULL; g = g->next_retired)
			accessfile_wake(&g->access);
	return rc;
}

void pool_drain(struct pool *pool, bool drains)
{
	pool->draining = drains;
	log_notice("pool %s: %s", pool->name,
		drains ? "drains: it serves on, and the health check fails from now on"
		       : "drains no longer");
}

bool pool_listens(const struct pool *pool, const char *address)
{
	for (size_t i = 0; pool->current != NULL && i < pool->current->listener_count; i++)
		if (strcmp(pool->current->listeners[i]->text, address) == 0)
			return true;
	return false;
}

static enum policy_death on_unasked_death(
	struct pool *pool, const struct member *m, int status, uint64_t now)
{
	struct restart_death death = restart_judge(m, pool->board, status, now);

	guard_died(&pool->guard, m->watch->pid, now);
	if (m->generation != pool->next ||
		(death.kind != POLICY_FAILED_START && m->watch->was_ready)) {
		restart_count(&pool->restart, pool->name, m, &death, status, now);
		return death.kind;
	}
	/* It ends the reload; no other is tried, and those that serve on have no part in it. */
	if (pool->failure.code != 0)
		return death.kind;
	struct obituary why = { 0 };
	obituary_write(&why, pool->name, m->watch, status, death.requests);
	err_set(&pool->failure, m->watch->code != 0 ? m->watch->code : EX_UNAVAILABLE, "%s",
		why.text);
	return death.kind;
}

bool pool_stopped(struct pool *pool, pid_t pid, int status, uint64_t now)
{
	struct member *m = roster_find(&pool->roster, pid);

	if (m == NULL)
		m = roster_find_owner(&pool->roster, pid);
	if (m != NULL)
		watch_stopped(m->watch, pid, status, now);
	return m != NULL;
}

bool pool_died(struct pool *pool, pid_t pid, int status, uint64_t now)
{
	struct member *m = roster_find(&pool->roster, pid);
	struct member *owner = m != NULL ? NULL : roster_find_owner(&pool->roster, pid);
	char how[64];

	if (owner != NULL)
		watch_lost(owner->watch, pid, now);
	if (m == NULL)
		return owner != NULL;
	/* What a module has forked has inherited that TERM is blocked. */
	retire_leftovers(
		pid, m->watch->conf->kind == CONF_COMMAND ? m->watch->conf->stop_signal : SIGKILL);
	watch_collect(m->watch);
	enum life_state before = m->watch->state;
	enum policy_death kind = POLICY_CRASH;
	bool unasked = life_step(before, LIFE_EV_DIED).action == LIFE_DO_REPLACE;
	if (unasked)
		kind = on_unasked_death(pool, m, status, now);
	else
		log_info("pool %s: %s worker %d %s", pool->name, life_state_name(before), (int)pid,
			spawn_status_text(status, how, sizeof(how)));
	tally_died(&pool->tally, m, pool->board, unasked, kind, status, now);
	watch_event(m->watch, LIFE_EV_DIED, now);
	watch_free(m->watch);
	m->generation->workers--;
	memset(m, 0, sizeof(*m));
	return true;
}

/* Starts what is missing of one generation, as far as policy and the limit allow. */
static uint64_t fill(
	struct pool *pool, struct generation *g, unsigned limit, bool probing, uint64_t now)
{
	unsigned have = roster_count(&pool->roster, g, false), living = roster_alive(&pool->roster);
	uint64_t next = UINT64_MAX;
	struct err err;

	if (have >= g->want)
		return next;
	unsigned n =
		policy_start(&pool->restart.policy, g->want - have, g->want, probing, now, &next);
	if (living + n > limit)
		n = living < limit ? limit - living : 0; /* a death wakes us */
	if (muster(pool, g, n < MUSTER_MOST ? n : MUSTER_MOST, now, &err) == 0)
		return n > MUSTER_MOST ? now : next;
	log_err("pool %s: cannot start a worker: %s", pool->name, err.text);
	if (g == pool->next)
		pool->failure = err;
	else
		policy_died(&pool->restart.policy, POLICY_FAILED_START, g->want, now, now);
	return now + POLICY_DELAY_MIN;
}

/* Workers that are killed again and again before all are ready must not hold a reload for ever. One
 * more than ever that is ready is progress: a thousand may take their time on a busy machine. */
static uint64_t follow_deadline(struct pool *pool, uint64_t now)
{
	unsigned ready = roster_count(&pool->roster, pool->next, true);

	if (ready > pool->next_most) {
		pool->next_most = ready;
		pool->next_deadline = now + pool->next_patience;
	}
	if (ready >= pool->next->want)
		return UINT64_MAX;
	if (now >= pool->next_deadline)
		err_set(&pool->failure, EX_UNAVAILABLE,
			"pool %s: its %u workers were not all ready in time", pool->name,
			pool->next->want);
	return pool->next_deadline > now ? pool->next_deadline : now;
}

/* Not now while an upgrade waits for those on their way out. Also in a back-off that nothing is
 * missing in: then only a replacement can end it. */
static bool may_replace(const struct pool *pool, bool probing, uint64_t now, uint64_t *next)
{
	const struct policy_restart *r = &pool->restart.policy;

	if (r->delay > 0 && now < r->retry_at)
		*next = policy_earlier(*next, r->retry_at);
	return pool->next == NULL && !pool->context->upgrade_waits &&
	       (r->delay == 0 || (now >= r->retry_at && !probing));
}

static uint64_t look_after(struct pool *pool, bool probing, uint64_t now)
{
	uint64_t next = UINT64_MAX;
	const struct upkeep_scene scene = { .roster = &pool->roster,
		.handover = &pool->handover,
		.current = pool->current,
		.board = pool->board,
		.bell = pool->bell,
		.base = pool->context->base,
		.failing = pool->restart.policy.delay > 0,
		.replaceable = may_replace(pool, probing, now, &next) };

	return policy_earlier(next, upkeep_follow(&pool->upkeep, &scene, now));
}

uint64_t pool_reconcile(struct pool *pool, uint64_t now)
{
	uint64_t closes = follow_closing(pool, now);
	const struct guard_scene scene = { .base = pool->context->base,
		.roster = &pool->roster,
		.current = closing_is_underway(&pool->closing) ? NULL : pool->current,
		.next = pool->next,
		.upkeep = &pool->upkeep,
		.failing = pool->restart.policy.delay > 0 };
	uint64_t next = policy_earlier(closes, guard_follow(&pool->guard, &scene, now));

	for (unsigned s = 1; s <= pool->roster.slots; s++)
		if (pool->roster.members[s].watch != NULL)
			next = policy_earlier(
				next, watch_follow(pool->roster.members[s].watch, now));
	bool probing = restart_is_on_trial(
		&pool->restart, pool->name, &pool->roster, pool->board, now, &next);
	next = policy_earlier(next, look_after(pool, probing, now));
	unsigned most = pool->current != NULL ? quota_most(pool->current) : 0;
	if (pool->next != NULL && quota_most(pool->next) > most)
		most = quota_most(pool->next);
	if (pool->current != NULL)
		next = policy_earlier(next, fill(pool, pool->current, 2 * most, probing, now));
	if (pool->next != NULL && pool->failure.code == 0) {
		next = policy_earlier(next, fill(pool, pool->next, 2 * most, probing, now));
		next = policy_earlier(next, follow_deadline(pool, now));
	}
	restart_tell(&pool->restart);
	bury_generations(pool);
	return next;
}

bool pool_is_empty(const struct pool *pool)
{
	return roster_alive(&pool->roster) == 0 && !closing_is_underway(&pool->closing);
}

bool pool_is_stopped(const struct pool *pool)
{
	return (pool->current == NULL && pool->next == NULL) || closing_is_underway(&pool->closing);
}

bool pool_uses(const struct pool *pool, unsigned number)
{
	if ((pool->current != NULL && pool->current->number == number) ||
		(pool->next != NULL && pool->next->number == number))
		return true;
	for (const struct generation *g = pool->retired; g != NULL; g = g->next_retired)
		if (g->number == number)
			return true;
	return false;
}
