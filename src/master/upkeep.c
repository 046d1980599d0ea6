/*
 * upkeep: when to look at a pool, and what follows from what was seen.
 *
 * Looks (gauge), asks (policy), acts (recycle, overtime, and the shedding of idle workers here).
 * Starting workers is for the pool: it compares what is with generation->want.
 */
#include "master/upkeep.h"

#include "common/board.h"
#include "common/conf.h"
#include "common/log.h"
#include "master/gauge.h"
#include "master/generation.h"
#include "master/handover.h"
#include "master/overtime.h"
#include "master/recycle.h"
#include "master/roster.h"
#include "master/watch.h"

#define PAUSE_MIN 5      /* ms, while connections wait or workers start */
#define PAUSE_MAX 100    /* ms, while nothing changes */
#define REST_AFTER 500   /* ms without work, until nobody looks any more */
#define WEIGH_EVERY 1000 /* ms */

void upkeep_init(struct upkeep *u)
{
	*u = (struct upkeep){ .hungry = SIZE_MAX, .look_at = UINT64_MAX };
}

void upkeep_free(struct upkeep *u)
{
	wake_free(&u->wake);
}

void upkeep_leave(struct upkeep *u)
{
	wake_unwatch(&u->wake);
	u->generation = NULL;
}

void upkeep_scaled(struct upkeep *u, unsigned want, uint64_t now)
{
	policy_settle(&u->demand, want, now);
	u->look_at = now;
}

static bool follows_load(const struct conf_pool *conf)
{
	return conf->workers.min < conf->workers.max;
}

static bool is_looked_at(const struct conf_pool *conf)
{
	return follows_load(conf) || overtime_concerns(conf) || recycle_by_weight(conf);
}

/* Idle workers that are too many go, the youngest first. A busy one never does. */
static void shed(const struct upkeep_scene *scene, uint64_t now)
{
	const struct generation *g = scene->current;
	unsigned have = roster_count(scene->roster, g, false);

	for (unsigned s = scene->roster->slots; s > 0 && have > g->want; s--) {
		struct watch *w = roster_idle(&scene->roster->members[s], g);

		if (w == NULL)
			continue;
		watch_event(w, LIFE_EV_RETIRE, now);
		have--;
	}
}

/* The youngest that serves this listener; idle: of those that are. NULL: there is none. */
static struct watch *find_youngest(
	const struct roster *roster, const struct generation *g, size_t listener, bool idle)
{
	for (unsigned s = roster->slots; s > 0; s--) {
		const struct member *m = &roster->members[s];

		if (m->watch == NULL || m->generation != g || m->watch->state != LIFE_UP ||
			m->watch->listener != listener)
			continue;
		if (!idle || roster_idle(m, g) != NULL)
			return m->watch;
	}
	return NULL;
}

/* An idle one of another listener; where the hungry one has nobody at all, also a busy one of the
 * listener that has the most, which goes when its request is done. */
static struct watch *find_dispensable(
	const struct roster *roster, const struct generation *g, size_t hungry)
{
	size_t richest = hungry;
	struct watch *w = NULL;

	for (size_t l = 0; l < g->listener_count && w == NULL; l++) {
		if (l != hungry)
			w = find_youngest(roster, g, l, true);
		if (roster_count_at(roster, g, l) > roster_count_at(roster, g, richest))
			richest = l;
	}
	if (w != NULL || roster_count_at(roster, g, hungry) > 0)
		return w;
	return find_youngest(roster, g, richest, false);
}

/* All that there may be are there, and none where connections wait is idle: one goes elsewhere. */
static void make_way(const struct upkeep_scene *scene, const struct gauge *seen, uint64_t now)
{
	const struct generation *g = scene->current;

	if (g->conf->kind != CONF_COMMAND || g->listener_count < 2 || seen->hungry == SIZE_MAX ||
		seen->load.idle + seen->load.starting > 0 ||
		roster_count(scene->roster, g, false) < g->range.max)
		return;
	struct watch *w = find_dispensable(scene->roster, g, seen->hungry);
	if (w != NULL)
		watch_event(w, LIFE_EV_RETIRE, now);
}

/* What comes on a connection that is kept open is in no queue that we watch: somebody has to be
 * there for it. */
static bool has_connections(const struct upkeep_scene *scene, const struct gauge *seen)
{
	return scene->current->range.min == 0 &&
	       (seen->held || handover_is_waiting(scene->handover));
}

static uint64_t follow_load(
	struct upkeep *u, const struct upkeep_scene *scene, const struct gauge *seen, uint64_t now)
{
	struct generation *g = scene->current;
	bool kept = has_connections(scene, seen);
	const struct policy_limits limits = { .min = kept ? 1 : g->range.min,
		.max = g->range.max,
		.spare = g->conf->spare,
		.idle_timeout = g->conf->idle_timeout };
	unsigned before = g->want;
	uint64_t next;

	g->want = policy_want(&limits, &seen->load, &u->demand, now, &next);
	if (g->want > before)
		log_debug("pool %s: %u workers wanted: %u busy, %u wait", g->conf->name, g->want,
			seen->load.busy, seen->load.queue);
	if (g->want < before)
		log_debug("pool %s: %u workers are enough", g->conf->name, g->want);
	if (seen->load.queue == 0)
		shed(scene, now);
	else
		make_way(scene, seen, now);
	u->hungry = seen->hungry;
	/* They are closed, or given away, without a sound. */
	if (kept)
		next = policy_earlier(next, now + g->conf->idle_timeout);
	else if (seen->leaving)
		next = policy_earlier(next, now + PAUSE_MAX);
	/* No worker can be started now, however long the queue is. */
	return scene->failing && next < now + PAUSE_MAX ? now + PAUSE_MAX : next;
}

static bool same_load(const struct policy_load *a, const struct policy_load *b)
{
	return a->queue == b->queue && a->idle == b->idle && a->busy == b->busy &&
	       a->starting == b->starting;
}

/* Short while something moves, longer while it does not, or where no more may be started. */
static uint64_t pause_after(
	struct upkeep *u, const struct upkeep_scene *scene, const struct policy_load *load)
{
	const struct generation *g = scene->current;
	bool full = follows_load(g->conf) && (g->want >= g->range.max || scene->failing);

	if (!full && (load->queue > 0 || load->starting > 0))
		u->pause = PAUSE_MIN;
	else if (!full && !same_load(load, &u->last))
		u->pause = 2 * PAUSE_MIN;
	else
		u->pause = 2 * u->pause < PAUSE_MAX ? 2 * u->pause : PAUSE_MAX;
	u->last = *load;
	return u->pause;
}

static void listen_to_workers(const struct upkeep_scene *scene)
{
	for (unsigned s = 1; s <= scene->roster->slots; s++) {
		const struct member *m = &scene->roster->members[s];

		if (m->watch != NULL && m->watch->conf->kind != CONF_COMMAND &&
			(m->watch->state == LIFE_UP || m->watch->state == LIFE_RETIRING))
			board_listen(scene->board, s);
	}
}

/* Nothing goes on: whatever begins wakes us. What began just before is seen by one more look. */
static void rest(struct upkeep *u, const struct upkeep_scene *scene)
{
	const struct generation *g = scene->current;

	if (g->conf->kind == CONF_COMMAND || follows_load(g->conf))
		wake_watch(&u->wake, g->listener_fds, g->listener_count);
	if (scene->board != NULL)
		listen_to_workers(scene);
}

/* Returns when to look again. */
static uint64_t act(
	struct upkeep *u, const struct upkeep_scene *scene, const struct gauge *seen, uint64_t now)
{
	const struct conf_pool *conf = scene->current->conf;
	uint64_t next = overtime_follow(scene->roster, scene->board, now);

	if (follows_load(conf))
		next = policy_earlier(next, follow_load(u, scene, seen, now));
	if (recycle_by_weight(conf) && seen->working && now >= u->weigh_at) {
		gauge_weigh(scene->roster);
		u->weigh_at = now + WEIGH_EVERY;
	}
	return next;
}

/* Requests that come one by one must not wake us one by one: a short idle moment is no rest. Where
 * the next look is at the end of a request's time anyway, it may be as short as it likes. */
static bool may_rest(const struct upkeep *u, const struct upkeep_scene *scene,
	const struct policy_load *load, uint64_t now)
{
	const struct conf_pool *conf = scene->current->conf;

	if (conf->kind != CONF_COMMAND && !follows_load(conf))
		return true;
	return now >= u->worked_at + REST_AFTER || load->idle + load->busy + load->starting == 0;
}

/* Where there is no worker, nobody can take a connection before it wakes us. */
static uint64_t rest_until(
	const struct upkeep_scene *scene, const struct policy_load *load, uint64_t now)
{
	return load->idle + load->busy == 0 ? UINT64_MAX : overtime_rest(scene->current->conf, now);
}

static uint64_t look(struct upkeep *u, const struct upkeep_scene *scene, uint64_t now)
{
	const struct generation *g = scene->current;
	struct gauge seen;

	wake_unwatch(&u->wake);
	gauge_look(scene->roster, g, scene->board, now, &seen);
	if (seen.working)
		u->worked_at = now;
	bool rests = !seen.working && may_rest(u, scene, &seen.load, now);
	if (rests) {
		rest(u, scene);
		gauge_look(scene->roster, g, scene->board, now, &seen);
	}
	uint64_t next = act(u, scene, &seen, now);
	if (!seen.working)
		return policy_earlier(
			next, rests ? rest_until(scene, &seen.load, now) : now + PAUSE_MAX);
	if (recycle_by_weight(g->conf))
		next = policy_earlier(next, u->weigh_at);
	if (follows_load(g->conf)) {
		next = policy_earlier(next, now + pause_after(u, scene, &seen.load));
		/* All are busy: the next connection will wait, and is news. */
		if (seen.load.idle == 0 && seen.load.queue == 0 && g->want < g->range.max)
			wake_watch(&u->wake, g->listener_fds, g->listener_count);
	} else if (next == UINT64_MAX && g->conf->kind == CONF_COMMAND) {
		next = now + pause_after(u, scene, &seen.load);
	} else if (next == UINT64_MAX && scene->board != NULL) {
		listen_to_workers(scene);
	}
	return next;
}

static void begin_generation(struct upkeep *u, const struct generation *g, uint64_t now)
{
	u->generation = g;
	u->hungry = SIZE_MAX;
	u->look_at = now;
	u->weigh_at = now;
	u->pause = PAUSE_MIN;
	policy_settle(&u->demand, g->want, now);
}

uint64_t upkeep_follow(struct upkeep *u, const struct upkeep_scene *scene, uint64_t now)
{
	struct generation *g = scene->current;
	uint64_t next = UINT64_MAX;

	if (g == NULL)
		return next;
	u->wake.base = scene->base;
	if (u->generation != g)
		begin_generation(u, g, now);
	bool noticed = wake_noticed(&u->wake);
	/* The connection may be neither in the queue nor in a worker's hands yet: no rest now. */
	if (noticed)
		u->worked_at = now;
	if (is_looked_at(g->conf)) {
		if (noticed || now >= u->look_at)
			u->look_at = look(u, scene, now);
		next = u->look_at;
	}
	if (g->conf->max_age > 0 || recycle_by_wish(g->conf) || recycle_by_weight(g->conf))
		next = policy_earlier(next,
			recycle_follow(scene->roster, g, scene->board, scene->replaceable, now));
	if (g->conf->kind != CONF_COMMAND && (is_looked_at(g->conf) || recycle_by_wish(g->conf)))
		next = policy_earlier(next, wake_hear(&u->wake, scene->bell, now));
	return next;
}
