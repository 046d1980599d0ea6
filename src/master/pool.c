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
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/board.h"
#include "common/conf.h"
#include "common/err.h"
#include "common/log.h"
#include "master/generation.h"
#include "master/handover.h"
#include "master/obituary.h"
#include "master/output.h"
#include "master/policy.h"
#include "master/retire.h"
#include "master/roster.h"
#include "master/spawn.h"
#include "master/watch.h"

#define DEADLINE_GRACE 1000 /* ms beyond the time that each single worker has */
#define STARTS_PER_TURN 32  /* then the loop sees to signals and output before it goes on */

struct pool {
	char name[40];
	const struct watch_context *context;
	struct listen_set *listen;
	struct board *board;      /* NULL until a generation serves inside preforkd */
	struct handover handover; /* none until then */
	int bell;                 /* rung by workers inside preforkd; -1: none until then */
	struct roster roster;
	struct generation *current; /* NULL: not yet, or no more */
	struct generation *next;    /* NULL: no reload under way */
	struct err failure;         /* why next cannot become current; code 0: nothing yet */
	uint64_t next_deadline;     /* when next must be ready */
	struct policy_restart restart;
	struct generation *retired; /* old ones with workers left */
	struct obituary obituary;   /* of the last death, until what happens next is known */
};

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

/* Room for slots 1..slots, in the table and on the board. */
static int make_room(struct pool *pool, unsigned slots, bool in_process, struct err *err)
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

int pool_prepare(struct pool *pool, const struct conf_pool *conf, unsigned number, uint64_t now,
	struct err *err)
{
	unsigned most = conf->workers.max;
	uint64_t patience = conf->start_timeout;

	if (pool->current != NULL && pool->current->want > most)
		most = pool->current->want;
	/* The slots may still be taken by those that the reload before has retired. */
	for (const struct generation *g = pool->retired; g != NULL; g = g->next_retired)
		if (patience < conf->start_timeout + g->conf->stop_timeout)
			patience = conf->start_timeout + g->conf->stop_timeout;
	if (make_room(pool, 2 * most, conf->kind != CONF_COMMAND, err) != 0)
		return -1;
	pool->next = generation_open(conf, number, pool->listen, err);
	if (pool->next == NULL)
		return -1;
	pool->failure.code = 0;
	pool->next_deadline = now + patience + DEADLINE_GRACE;
	/* A reload is the administrator's word that things are different now. */
	pool->restart.delay = 0;
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
	handover_end(&pool->handover);
	if (pool->current != NULL)
		retire_generation(pool, pool->current, now);
	pool->current = NULL;
}

void pool_cut(struct pool *pool, uint64_t now)
{
	for (unsigned s = 1; s <= pool->roster.slots; s++)
		if (pool->roster.members[s].watch != NULL)
			watch_event(pool->roster.members[s].watch, LIFE_EV_CUT, now);
}

void pool_scale(struct pool *pool, int by, uint64_t now)
{
	struct generation *g = pool->current;
	struct err err;

	if (g == NULL || (by < 0 && g->want <= 1) || (by > 0 && g->want >= CONF_WORKERS_MAX))
		return;
	if (by > 0 &&
		make_room(pool, 2 * (g->want + 1), g->conf->kind != CONF_COMMAND, &err) != 0) {
		log_err("%s", err.text);
		return;
	}
	g->want = by > 0 ? g->want + 1 : g->want - 1;
	log_notice("pool %s: %u workers wanted", pool->name, g->want);
	/* The youngest goes: the highest slot of those that serve. */
	for (unsigned s = pool->roster.slots;
		s > 0 && roster_count(&pool->roster, g, false) > g->want; s--) {
		struct member *m = &pool->roster.members[s];

		if (m->watch != NULL && m->generation == g)
			watch_event(m->watch, LIFE_EV_RETIRE, now);
	}
}

void pool_reopen(struct pool *pool)
{
	if (pool->current != NULL)
		output_sink_reopen(pool->current->sink);
	if (pool->next != NULL)
		output_sink_reopen(pool->next->sink);
	for (const struct generation *g = pool->retired; g != NULL; g = g->next_retired)
		output_sink_reopen(g->sink);
}

static void judge_death(struct pool *pool, const struct member *m, int status, uint64_t now)
{
	const struct watch *w = m->watch;
	struct board_worker said = { 0 };
	struct policy_obituary o = { .was_ready = w->was_ready,
		.by_signal = WIFSIGNALED(status),
		.by_sigkill = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL &&
			      w->state != LIFE_FAILING,
		.requests_known = w->conf->kind != CONF_COMMAND,
		.lived = now - w->started };

	if (o.requests_known)
		board_read(pool->board, w->slot, &said);
	o.requests = said.requests + (said.busy ? 1 : 0);
	enum policy_death death = policy_judge(&o);
	if (m->generation == pool->next && (death == POLICY_FAILED_START || !w->was_ready)) {
		/* It ends the reload; no other is tried, and those that serve on have no part in
		 * it. */
		if (pool->failure.code == 0) {
			obituary_write(&pool->obituary, pool->name, w, status, said.requests);
			err_set(&pool->failure, w->code != 0 ? w->code : EX_UNAVAILABLE, "%s",
				pool->obituary.text);
			pool->obituary.text[0] = '\0';
		}
		return;
	}
	bool grown = policy_died(&pool->restart, death, m->generation->want, w->started, now);
	if (death == POLICY_CRASH || grown)
		obituary_write(&pool->obituary, pool->name, w, status, said.requests);
}

bool pool_stopped(struct pool *pool, pid_t pid, int status, uint64_t now)
{
	struct member *m = roster_find(&pool->roster, pid);

	if (m != NULL)
		watch_stopped(m->watch, status, now);
	return m != NULL;
}

bool pool_died(struct pool *pool, pid_t pid, int status, uint64_t now)
{
	struct member *m = roster_find(&pool->roster, pid);
	char how[64];

	if (m == NULL)
		return false;
	/* What a module has forked has inherited that TERM is blocked. */
	retire_leftovers(
		pid, m->watch->conf->kind == CONF_COMMAND ? m->watch->conf->stop_signal : SIGKILL);
	watch_collect(m->watch);
	enum life_state before = m->watch->state;
	if (life_step(before, LIFE_EV_DIED).action == LIFE_DO_REPLACE)
		judge_death(pool, m, status, now);
	else
		log_info("pool %s: %s worker %d %s", pool->name, life_state_name(before), (int)pid,
			spawn_status_text(status, how, sizeof(how)));
	watch_event(m->watch, LIFE_EV_DIED, now);
	watch_free(m->watch);
	m->generation->workers--;
	memset(m, 0, sizeof(*m));
	return true;
}

static int start_member(struct pool *pool, struct generation *g, uint64_t now, struct err *err)
{
	bool command = g->conf->kind == CONF_COMMAND;
	size_t listener = roster_poorest_listener(&pool->roster, g);
	unsigned slot = roster_free_slot(&pool->roster);

	if (slot == 0)
		return err_set(err, EX_OSERR, "pool %s: no slot is free", pool->name);
	if (!command)
		board_clear(pool->board, slot);
	struct watch_seat seat = { .conf = g->conf,
		.slot = slot,
		.listeners = command ? &g->listener_fds[listener] : g->listener_fds,
		.listener_count = command ? 1 : g->listener_count,
		.board_fd = command ? -1 : board_fd(pool->board),
		.handover = pool->handover.fds,
		.bell_fd = command ? -1 : pool->bell,
		.sink = g->sink };
	struct watch *w = watch_start(pool->context, &seat, now, err);
	if (w == NULL)
		return -1;
	w->listener = listener;
	pool->roster.members[slot] = (struct member){ .watch = w, .generation = g };
	g->workers++;
	char next[48];
	snprintf(next, sizeof(next), "replaced by %d", (int)w->pid);
	obituary_tell(&pool->obituary, next);
	return 0;
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
	unsigned n = policy_start(&pool->restart, g->want - have, g->want, probing, now, &next);
	if (living + n > limit)
		n = living < limit ? limit - living : 0; /* a death wakes us */
	for (unsigned i = 0; i < n; i++) {
		if (i == STARTS_PER_TURN)
			return now;
		if (start_member(pool, g, now, &err) == 0)
			continue;
		log_err("pool %s: cannot start a worker: %s", pool->name, err.text);
		if (g == pool->next)
			pool->failure = err;
		else
			policy_died(&pool->restart, POLICY_FAILED_START, g->want, now, now);
		return now + POLICY_DELAY_MIN;
	}
	return next;
}

/* Has a worker started after the last failure shown that starting works? And if one is still on
 * trial, when will it be known? */
static bool look_at_trials(struct pool *pool, uint64_t now, uint64_t *next)
{
	bool probing = false;

	for (unsigned s = 1; pool->restart.delay > 0 && s <= pool->roster.slots; s++) {
		struct member *m = &pool->roster.members[s];
		struct board_worker said = { 0 };

		if (m->watch == NULL || m->watch->started < pool->restart.last_failure ||
			(m->watch->state != LIFE_UP && m->watch->state != LIFE_STARTING))
			continue;
		if (m->watch->conf->kind != CONF_COMMAND)
			board_read(pool->board, s, &said);
		uint64_t due = m->watch->started + POLICY_PROVEN;
		if (m->watch->was_ready && (now >= due || said.requests > 0)) {
			log_notice("pool %s: worker %d serves, back-off ends", pool->name,
				(int)m->watch->pid);
			policy_proven(&pool->restart);
			return false;
		}
		probing = true;
		if (m->watch->was_ready && due < *next)
			*next = due;
	}
	return probing;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Workers that are killed again and again before all are ready must not hold a reload for ever. */
static uint64_t follow_deadline(struct pool *pool, uint64_t now)
{
	if (roster_count(&pool->roster, pool->next, true) >= pool->next->want)
		return UINT64_MAX;
	if (now >= pool->next_deadline)
		err_set(&pool->failure, EX_UNAVAILABLE,
			"pool %s: its %u workers were not all ready in time", pool->name,
			pool->next->want);
	return pool->next_deadline > now ? pool->next_deadline : now;
}

uint64_t pool_reconcile(struct pool *pool, uint64_t now)
{
	uint64_t next = UINT64_MAX;
	char what[64];

	for (unsigned s = 1; s <= pool->roster.slots; s++)
		if (pool->roster.members[s].watch != NULL)
			next = earlier(next, watch_follow(pool->roster.members[s].watch, now));
	bool probing = look_at_trials(pool, now, &next);
	unsigned most = pool->current != NULL ? pool->current->want : 0;
	if (pool->next != NULL && pool->next->want > most)
		most = pool->next->want;
	if (pool->current != NULL)
		next = earlier(next, fill(pool, pool->current, 2 * most, probing, now));
	if (pool->next != NULL && pool->failure.code == 0) {
		next = earlier(next, fill(pool, pool->next, 2 * most, probing, now));
		next = earlier(next, follow_deadline(pool, now));
	}
	if (pool->restart.delay > 0) {
		snprintf(what, sizeof(what), "next try in %" PRIu64 " ms", pool->restart.delay);
		obituary_tell(&pool->obituary, what);
	} else {
		obituary_tell(&pool->obituary, "to be replaced");
	}
	bury_generations(pool);
	return next;
}

bool pool_is_empty(const struct pool *pool)
{
	return roster_alive(&pool->roster) == 0;
}

bool pool_is_stopped(const struct pool *pool)
{
	return pool->current == NULL && pool->next == NULL;
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
