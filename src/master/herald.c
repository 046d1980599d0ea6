/*
 * herald: reads the pools, their scoreboards and queues. Text that comes from a worker is copied as
 * it is, for whoever shows it to escape.
 */
#include "master/herald.h"

#include <bsd/string.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/board.h"
#include "common/clock.h"
#include "common/conf.h"
#include "master/events.h"
#include "master/fleet.h"
#include "master/gauge.h"
#include "master/generation.h"
#include "master/heritage.h"
#include "master/listen.h"
#include "master/pool.h"
#include "master/poolstate.h"
#include "master/queue.h"
#include "master/watch.h"

#define LOOKS 64 /* at programs, over all pools: one costs some 50 us */

/* How far it has come. */
struct pen {
	struct ledger *ledger;
	uint64_t now, wall;
	enum ledger_phase phase;
	uint32_t pools, listeners, workers;
	unsigned looks; /* that may be taken in each pool */
};

static const struct generation *shown(const struct pool *pool)
{
	if (pool->current != NULL)
		return pool->current;
	return pool->next != NULL ? pool->next : pool->retired;
}

/* One that was removed does not stand beside its successor of the same name. */
static bool is_shown(const struct fleet *fleet, const struct pool *pool)
{
	const struct pool *other;

	if (shown(pool) == NULL)
		return false;
	for (size_t i = 0; pool_is_stopped(pool) && (other = fleet_pool(fleet, i)) != NULL; i++)
		if (other != pool && strcmp(other->name, pool->name) == 0 &&
			(!pool_is_stopped(other) || other < pool))
			return false;
	return true;
}

/* Returns how many pools run programs. */
static unsigned count(const struct fleet *fleet, struct ledger_counts *out)
{
	const struct pool *pool;
	unsigned commands = 0;

	for (size_t i = 0; (pool = fleet_pool(fleet, i)) != NULL; i++) {
		if (!is_shown(fleet, pool))
			continue;
		out->pools++;
		out->listeners += (uint32_t)shown(pool)->listener_count;
		out->workers += roster_alive(&pool->roster);
		commands += shown(pool)->conf->kind == CONF_COMMAND;
	}
	return commands;
}

static void write_program(const struct conf_pool *conf, char *out, size_t size)
{
	out[0] = '\0';
	for (char **word = conf->argv; word != NULL && *word != NULL; word++) {
		if (word != conf->argv)
			strlcat(out, " ", size);
		strlcat(out, *word, size);
	}
}

static void write_listeners(struct pen *pen, const struct generation *g)
{
	for (size_t i = 0; i < g->listener_count; i++) {
		struct ledger_listener *out = ledger_listener(pen->ledger, pen->listeners++);
		struct listener *l = g->listeners[i];
		struct queue queue;

		strlcpy(out->address, l->text, sizeof(out->address));
		out->known = queue_read(l->fd, &queue) == 0;
		if (queue.waiting > l->high)
			l->high = queue.waiting;
		out->queue = queue.waiting;
		out->limit = queue.most;
		out->high = l->high;
	}
}

/* Each in turn: those that are not looked at this time are as they were seen last. */
static void look_at_programs(const struct pen *pen, struct pool *pool)
{
	struct gauge unused;
	unsigned slots = pool->roster.slots, looks = pen->looks;

	for (unsigned i = 0; i < slots && looks > 0; i++) {
		pool->looked_at = pool->looked_at < slots ? pool->looked_at + 1 : 1;
		struct member *m = &pool->roster.members[pool->looked_at];
		const struct roster one = { .members = m - 1, .slots = 1 };

		if (m->watch == NULL || m->watch->conf->kind != CONF_COMMAND ||
			(m->watch->state != LIFE_UP && m->watch->state != LIFE_RETIRING))
			continue;
		gauge_look(&one, NULL, pool->board, pen->now, &unused);
		looks--;
	}
}

static void write_work(
	struct pen *pen, struct pool *pool, struct member *m, struct ledger_worker *out)
{
	struct board_worker said;
	struct board_request request;

	if (!out->in_process) {
		out->looked_at = m->looked;
		out->connections = m->busy;
		return;
	}
	board_read(pool->board, m->watch->slot, &said);
	out->figures = *tally_read(m, pool->board, pen->now);
	if (said.since == 0)
		return;
	board_read_request(pool->board, m->watch->slot, &request);
	out->has_request = true;
	/* No request began before its worker, or in the future. */
	if (said.since >= m->watch->started && said.since <= pen->now)
		out->lasted = pen->now - said.since;
	strlcpy(out->method, request.method, sizeof(out->method));
	strlcpy(out->path, request.path, sizeof(out->path));
}

static enum ledger_worker_state state_of(const struct member *m, const struct ledger_worker *w)
{
	switch (m->watch->state) {
	case LIFE_STARTING:
	case LIFE_FAILING:
		return LEDGER_WORKER_STARTING;
	case LIFE_UP:
		break;
	default:
		return LEDGER_WORKER_RETIRING;
	}
	if (!w->in_process && !w->looked_at)
		return LEDGER_WORKER_UNKNOWN;
	bool busy = w->in_process ? w->has_request : w->connections > 0;
	return busy ? LEDGER_WORKER_BUSY : LEDGER_WORKER_IDLE;
}

static void write_worker(
	struct pen *pen, struct pool *pool, struct member *m, struct ledger_pool *sum)
{
	struct ledger_worker *out = ledger_worker(pen->ledger, pen->workers++);

	out->slot = m->watch->slot;
	out->pid = m->watch->pid;
	out->generation = m->generation->number;
	out->started_at = pen->wall - (pen->now - m->watch->started);
	out->in_process = m->watch->conf->kind != CONF_COMMAND;
	write_work(pen, pool, m, out);
	out->state = (uint32_t)state_of(m, out);
	sum->live++;
	sum->starting += out->state == LEDGER_WORKER_STARTING;
	sum->idle += out->state == LEDGER_WORKER_IDLE;
	sum->busy += out->state == LEDGER_WORKER_BUSY;
	sum->retiring += out->state == LEDGER_WORKER_RETIRING;
	tally_add(&sum->figures, &out->figures);
}

static void judge(struct pool *pool, enum ledger_phase phase, struct ledger_pool *out)
{
	const struct generation *g = pool->current;

	if (phase == LEDGER_STOPPING || pool_is_stopped(pool)) {
		out->state = LEDGER_POOL_STOPPING;
		strlcpy(out->reason, "stopping", sizeof(out->reason));
	} else if (g == NULL) {
		out->state = LEDGER_POOL_STARTING;
		strlcpy(out->reason, "starting", sizeof(out->reason));
	} else if (pool->draining) {
		out->state = LEDGER_POOL_DRAINING;
		strlcpy(out->reason, "draining", sizeof(out->reason));
	} else {
		out->state = out->backoff > 0 ? LEDGER_POOL_BACKOFF : LEDGER_POOL_SERVING;
		if (pool->guard.said_lost)
			strlcpy(out->reason, "a listener was shut down, and cannot be opened again",
				sizeof(out->reason));
		else if (roster_count(&pool->roster, g, true) == 0 && out->backoff > 0)
			snprintf(out->reason, sizeof(out->reason),
				"back-off: no worker is ready, the next try is in %" PRIu64 " ms",
				out->backoff_left);
		else if (roster_count(&pool->roster, g, true) == 0 && g->range.min > 0)
			strlcpy(out->reason, "no worker is ready", sizeof(out->reason));
	}
	out->healthy = out->reason[0] == '\0';
}

static void write_pool(struct pen *pen, struct pool *pool)
{
	static const enum ledger_kind kinds[] = { [CONF_APP] = LEDGER_APP,
		[CONF_MODULE] = LEDGER_MODULE,
		[CONF_COMMAND] = LEDGER_COMMAND };
	struct ledger_pool *out = ledger_pool(pen->ledger, pen->pools++);
	const struct generation *g = shown(pool);
	const struct policy_restart *r = &pool->restart.policy;

	strlcpy(out->name, pool->name, sizeof(out->name));
	out->kind = (uint32_t)kinds[g->conf->kind];
	write_program(g->conf, out->program, sizeof(out->program));
	out->draining = pool->draining;
	out->generation = pool->current != NULL ? pool->current->number : 0;
	out->listener_count = (uint32_t)g->listener_count;
	write_listeners(pen, g);
	out->min = g->range.min;
	out->max = g->range.max;
	out->wanted = pool_is_stopped(pool) ? 0 : g->want;
	out->counts = g->conf->kind != CONF_COMMAND;
	out->figures = pool->tally.gone;
	out->spawned = pool->tally.spawned;
	memcpy(out->died, pool->tally.died, sizeof(out->died));
	out->backoff = r->delay;
	out->backoff_left = r->delay > 0 && r->retry_at > pen->now ? r->retry_at - pen->now : 0;
	look_at_programs(pen, pool);
	for (unsigned s = 1; s <= pool->roster.slots; s++)
		if (pool->roster.members[s].watch != NULL)
			write_worker(pen, pool, &pool->roster.members[s], out);
	out->worker_count = out->live;
	judge(pool, pen->phase, out);
}

static void write_daemon(struct ledger_daemon *out, const struct herald *h,
	const struct herald_gate *gate, const struct pen *pen)
{
	static const enum ledger_retirement ways[] = { [RETIRE_TRACED] = LEDGER_BY_TRACE,
		[RETIRE_STOPPED] = LEDGER_BY_STOP,
		[RETIRE_SIGNALLED] = LEDGER_BY_SIGNAL };

	strlcpy(out->version, h->version, sizeof(out->version));
	out->pid = getpid();
	out->phase = (uint32_t)h->phase;
	out->now = pen->wall;
	out->started_at = h->heritage->began;
	out->reloads = h->heritage->reload_history;
	out->upgrades = h->heritage->upgrade_history;
	out->retirement = (uint32_t)ways[retire_way()];
	out->gate_pid = gate->pid;
	out->gate_restarts = gate->restarts;
}

int herald_write(
	struct herald *h, const struct herald_gate *gate, struct ledger *ledger, uint64_t now)
{
	struct pen pen = {
		.ledger = ledger, .now = now, .wall = clock_wall_ms(), .phase = h->phase
	};
	static struct ledger_event events[EVENTS_MAX];
	struct ledger_counts counts = { .events = (uint32_t)events_copy(events) };
	struct pool *pool;

	unsigned commands = count(h->fleet, &counts);
	pen.looks = commands < LOOKS ? LOOKS / (commands > 0 ? commands : 1) : 1;
	if (ledger_begin(ledger, &counts) != 0)
		return -1;
	write_daemon(ledger_daemon(ledger), h, gate, &pen);
	for (size_t i = 0; (pool = fleet_pool(h->fleet, i)) != NULL; i++)
		if (is_shown(h->fleet, pool))
			write_pool(&pen, pool);
	for (uint32_t i = 0; i < counts.events; i++)
		*ledger_event(ledger, i) = events[i];
	return 0;
}
