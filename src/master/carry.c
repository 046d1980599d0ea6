/*
 * carry: tables of the fields that outlive an upgrade, and their order in the state.
 *
 * A row is all that a new field needs. What is not here starts as in a new pool.
 */
#include "master/carry.h"

#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sysexits.h>

#include "common/board.h"
#include "common/conf.h"
#include "common/err.h"
#include "common/private.h"
#include "master/generation.h"
#include "master/listen.h"
#include "master/output.h"
#include "master/pool.h"
#include "master/poolstate.h"
#include "master/state.h"
#include "master/watch.h"

static const struct state_row pool_rows[] = {
	STATE_ROW(TEXT, struct pool, name, 0),
	STATE_ROW(FD, struct pool, handover.fds[0], 0),
	STATE_ROW(FD, struct pool, handover.fds[1], 0),
	STATE_ROW(FD, struct pool, bell, 0),
	STATE_ROW(NUMBER, struct pool, restart.policy.delay, POLICY_DELAY_MAX),
	STATE_ROW(NUMBER, struct pool, restart.policy.retry_at, UINT64_MAX),
	STATE_ROW(NUMBER, struct pool, restart.policy.last_failure, UINT64_MAX),
	STATE_ROW(NUMBER, struct pool, restart.policy.debt, UINT64_MAX),
	STATE_ROW(NUMBER, struct pool, restart.policy.settled_at, UINT64_MAX),
	STATE_ROW(BYTES, struct pool, tally.gone, 0),
	STATE_ROW(NUMBER, struct pool, tally.spawned, UINT64_MAX),
	STATE_ROW(NUMBER, struct pool, tally.died[LEDGER_EXITED], UINT64_MAX),
	STATE_ROW(NUMBER, struct pool, tally.died[LEDGER_SIGNAL], UINT64_MAX),
	STATE_ROW(NUMBER, struct pool, tally.died[LEDGER_TIMEOUT], UINT64_MAX),
	STATE_ROW(NUMBER, struct pool, tally.died[LEDGER_FAILED_START], UINT64_MAX),
	STATE_ROW(NUMBER, struct pool, tally.died[LEDGER_RETIRED], UINT64_MAX),
	STATE_ROW(NUMBER, struct pool, draining, 1),
	STATE_END,
};

static const struct state_row watch_rows[] = {
	STATE_ROW(NUMBER, struct watch, pid, INT_MAX),
	STATE_ROW(NUMBER, struct watch, slot, 4 * CONF_WORKERS_MAX),
	STATE_ROW(NUMBER, struct watch, state, LIFE_STATE_COUNT - 1),
	STATE_ROW(NUMBER, struct watch, was_ready, 1),
	STATE_ROW(NUMBER, struct watch, expired, 1),
	STATE_ROW(NUMBER, struct watch, started, UINT64_MAX),
	STATE_ROW(NUMBER, struct watch, listener, CONF_LISTEN_MAX),
	STATE_ROW(NUMBER, struct watch, code, EX__MAX),
	STATE_ROW(TEXT, struct watch, reason, 0),
	STATE_ROW(NUMBER, struct watch, deadline, UINT64_MAX),
	STATE_ROW(NUMBER, struct watch, look_at, UINT64_MAX),
	STATE_ROW(NUMBER, struct watch, look_wait, UINT_MAX),
	STATE_ROW(NUMBER, struct watch, sleeping, UINT_MAX),
	STATE_ROW(NUMBER, struct watch, execed, 1),
	STATE_ROW(NUMBER, struct watch, said_ready, 1),
	STATE_ROW(FD, struct watch, start_fd, 0),
	STATE_ROW(NUMBER, struct watch, retire.in_process, 1),
	STATE_ROW(NUMBER, struct watch, retire.stop_signal, NSIG - 1),
	STATE_ROW(BYTES, struct watch, retire.listener.name, 0),
	STATE_ROW(NUMBER, struct watch, retire.listener.length, sizeof(struct sockaddr_storage)),
	STATE_ROW(NUMBER, struct watch, retire.listener.inode, UINT64_MAX),
	STATE_ROW(NUMBER, struct watch, retire.phase, RETIRE_TOLD),
	STATE_ROW(NUMBER, struct watch, retire.at, UINT64_MAX),
	STATE_ROW(NUMBER, struct watch, retire.wait, UINT_MAX),
	/* retire.trace is not here: no upgrade begins while a worker is traced. */
	STATE_ROW(NUMBER, struct watch, retire.untraceable, 1),
	STATE_END,
};

/* A worker's seat in the roster; the generation by its number. */
struct seat {
	struct member member;
	unsigned generation;
};

static const struct state_row seat_rows[] = {
	STATE_ROW(NUMBER, struct seat, generation, UINT_MAX),
	STATE_ROW(NUMBER, struct seat, member.old_at, UINT64_MAX),
	STATE_ROW(NUMBER, struct seat, member.max_memory, UINT64_MAX),
	STATE_ROW(NUMBER, struct seat, member.outgoing, UINT64_MAX),
	STATE_ROW(NUMBER, struct seat, member.busy, 1),
	STATE_ROW(NUMBER, struct seat, member.since, UINT64_MAX),
	STATE_ROW(NUMBER, struct seat, member.connection, UINT64_MAX),
	STATE_ROW(NUMBER, struct seat, member.told, UINT64_MAX),
	STATE_ROW(BYTES, struct seat, member.said, 0),
	STATE_END,
};

struct shelf { /* a scoreboard */
	int fd;
	unsigned slots, layout;
};

struct leaf { /* of it: a worker's page */
	int fd;
	unsigned slot;
};

static const struct state_row leaf_rows[] = {
	STATE_ROW(FD, struct leaf, fd, 0),
	STATE_ROW(NUMBER, struct leaf, slot, 4 * CONF_WORKERS_MAX),
	STATE_END,
};

static const struct state_row shelf_rows[] = {
	STATE_ROW(FD, struct shelf, fd, 0),
	STATE_ROW(NUMBER, struct shelf, slots, 4 * CONF_WORKERS_MAX),
	STATE_ROW(NUMBER, struct shelf, layout, UINT_MAX),
	STATE_END,
};

struct room { /* in the roster */
	unsigned slots;
};

static const struct state_row room_rows[] = {
	STATE_ROW(NUMBER, struct room, slots, 4 * CONF_WORKERS_MAX),
	STATE_END,
};

struct era { /* a generation */
	unsigned number, want;
	struct conf_range range;
	bool current;
	struct accessfile access;
};

static const struct state_row era_rows[] = {
	STATE_ROW(NUMBER, struct era, number, UINT_MAX),
	STATE_ROW(NUMBER, struct era, want, CONF_WORKERS_MAX),
	STATE_ROW(NUMBER, struct era, range.min, CONF_WORKERS_MAX),
	STATE_ROW(NUMBER, struct era, range.max, CONF_WORKERS_MAX),
	STATE_ROW(NUMBER, struct era, current, 1),
	STATE_ROW(FD, struct era, access.fd, 0),
	STATE_ROW(FD, struct era, access.ends[0], 0),
	STATE_ROW(FD, struct era, access.ends[1], 0),
	STATE_END,
};

struct use { /* of a listener by a generation */
	unsigned number;
};

static const struct state_row use_rows[] = {
	STATE_ROW(NUMBER, struct use, number, UINT_MAX),
	STATE_END,
};

static void save_generation(
	const struct pool *pool, const struct generation *g, struct state_out *out)
{
	struct era era = { .number = g->number,
		.want = g->want,
		.range = g->range,
		.current = g == pool->current,
		.access = g->access };

	state_put(out, "generation", era_rows, &era);
	for (size_t i = 0; i < g->listener_count; i++) {
		struct use use = { .number = listen_number(pool->listen, g->listeners[i]) };

		state_put(out, "use", use_rows, &use);
	}
}

static void save_member(const struct member *m, struct state_out *out)
{
	struct seat seat = { .member = *m, .generation = m->generation->number };

	state_put(out, "worker", watch_rows, m->watch);
	state_put(out, "seat", seat_rows, &seat);
	if (m->watch->output != NULL)
		output_save(m->watch->output, out);
}

static void save_board(const struct pool *pool, struct state_out *out)
{
	struct shelf shelf = { .fd = board_fd(pool->board, 0),
		.slots = board_slots(pool->board),
		.layout = BOARD_LAYOUT };

	state_put(out, "board", shelf_rows, &shelf);
	for (unsigned s = 1; s <= pool->roster.slots; s++) {
		struct leaf leaf = { .fd = board_fd(pool->board, s), .slot = s };

		if (pool->roster.members[s].watch != NULL && leaf.fd >= 0)
			state_put(out, "page", leaf_rows, &leaf);
	}
}

void carry_save(const struct pool *pool, struct state_out *out)
{
	struct room room = { .slots = pool->roster.slots };

	state_put(out, "pool", pool_rows, pool);
	state_put(out, "roster", room_rows, &room);
	if (pool->board != NULL)
		save_board(pool, out);
	if (pool->current != NULL)
		save_generation(pool, pool->current, out);
	for (const struct generation *g = pool->retired; g != NULL; g = g->next_retired)
		save_generation(pool, g, out);
	for (unsigned s = 1; s <= pool->roster.slots; s++)
		if (pool->roster.members[s].watch != NULL)
			save_member(&pool->roster.members[s], out);
}

bool carry_must_wait(const struct pool *pool)
{
	if (closing_is_underway(&pool->closing))
		return true;
	for (unsigned s = 1; s <= pool->roster.slots; s++) {
		const struct watch *w = pool->roster.members[s].watch;

		if (w != NULL && w->retire.phase == RETIRE_TRACING)
			return true;
	}
	return false;
}

/* At once: growing it worker by worker takes a time that grows with their square. */
static int restore_roster(struct pool *pool, struct state_in *in, struct err *err)
{
	struct room room = { 0 };

	if (state_take(in, "roster", room_rows, &room, err) != 0)
		return -1;
	return roster_grow(&pool->roster, room.slots) == 0
		       ? 0
		       : err_set(err, EX_OSERR, "out of memory");
}

static int restore_board(struct pool *pool, struct state_in *in, struct err *err)
{
	struct shelf shelf = { .fd = -1 };

	if (!state_has(in, "board"))
		return 0;
	if (state_take(in, "board", shelf_rows, &shelf, err) != 0)
		return -1;
	if (shelf.layout != BOARD_LAYOUT)
		return err_set(err, EX_UNAVAILABLE,
			"the scoreboard is of layout %u, and this program knows layout %u: stop "
			"and start",
			shelf.layout, BOARD_LAYOUT);
	pool->board = shelf.fd < 0 ? NULL : board_adopt(shelf.fd, shelf.slots);
	if (pool->board == NULL)
		return err_set(err, EX_OSERR, "pool %s: cannot map its scoreboard", pool->name);
	while (state_has(in, "page")) {
		struct leaf leaf = { .fd = -1 };

		if (state_take(in, "page", leaf_rows, &leaf, err) != 0)
			return -1;
		if (board_adopt_page(pool->board, leaf.slot, leaf.fd) != 0)
			return err_set(err, EX_OSERR,
				"pool %s: cannot map a page of its scoreboard", pool->name);
	}
	return 0;
}

static int restore_generation(
	struct pool *pool, struct state_in *in, const struct carry_scene *scene, struct err *err)
{
	unsigned numbers[CONF_LISTEN_MAX];
	struct era era = { .access = ACCESSFILE_NONE };
	size_t count = 0;

	if (state_take(in, "generation", era_rows, &era, err) != 0)
		return -1;
	for (struct use use; state_has(in, "use"); numbers[count++] = use.number)
		if (count == CONF_LISTEN_MAX || state_take(in, "use", use_rows, &use, err) != 0)
			return err_set(err, EX_SOFTWARE, "pool %s: the state has odd listeners",
				pool->name);
	const struct conf *conf = scene->find_conf(scene->arg, era.number);
	const struct conf_pool *mine = conf == NULL ? NULL : conf_find_pool(conf, pool->name);
	if (mine == NULL)
		return err_set(
			err, EX_SOFTWARE, "pool %s: the state lacks its configuration", pool->name);
	const struct generation_parts parts = {
		.listeners = numbers, .count = count, .access = era.access
	};
	struct generation *g = generation_adopt(mine, era.number, scene->listeners, &parts, err);
	if (g == NULL)
		return -1;
	g->want = era.want;
	if (era.range.max > 0 && era.range.min <= era.range.max)
		g->range = era.range;
	if (era.current) {
		pool->current = g;
	} else {
		g->next_retired = pool->retired;
		pool->retired = g;
	}
	return 0;
}

static struct generation *find_generation(const struct pool *pool, unsigned number)
{
	if (pool->current != NULL && pool->current->number == number)
		return pool->current;
	for (struct generation *g = pool->retired; g != NULL; g = g->next_retired)
		if (g->number == number)
			return g;
	return NULL;
}

/* Is the seat free, and what it says possible? */
static int take_seat(struct pool *pool, struct watch *w, struct seat *seat, struct err *err)
{
	struct generation *g = find_generation(pool, seat->generation);

	if (g == NULL || w->pid <= 1 || w->slot == 0 || w->slot > pool->roster.slots ||
		pool->roster.members[w->slot].watch != NULL ||
		(g->conf->kind != CONF_COMMAND &&
			(pool->board == NULL || board_fd(pool->board, w->slot) < 0)))
		return err_set(
			err, EX_SOFTWARE, "pool %s: the state has an odd worker", pool->name);
	w->conf = g->conf;
	w->retire.pid = w->pid;
	seat->member.watch = w;
	seat->member.generation = g;
	pool->roster.members[w->slot] = seat->member;
	g->workers++;
	return 0;
}

static int restore_member(
	struct pool *pool, struct state_in *in, const struct carry_scene *scene, struct err *err)
{
	struct watch *w = private_alloc(sizeof(*w));
	struct seat seat = { .member.old_at = UINT64_MAX };

	if (w == NULL)
		return err_set(err, EX_OSERR, "out of memory");
	w->start_fd = -1;
	if (state_take(in, "worker", watch_rows, w, err) != 0 ||
		state_take(in, "seat", seat_rows, &seat, err) != 0 ||
		take_seat(pool, w, &seat, err) != 0) {
		private_free(w, sizeof(*w));
		return -1;
	}
	if (watch_adopt(w, scene->context) != 0)
		return err_set(err, EX_OSERR, "cannot follow worker %d", (int)w->pid);
	if (!state_has(in, "output"))
		return 0;
	w->output =
		output_restore(seat.member.generation->sink, scene->context->base, w->pid, in, err);
	return w->output == NULL ? -1 : 0;
}

struct pool *carry_restore(struct state_in *in, const struct carry_scene *scene, struct err *err)
{
	struct pool *pool = pool_new("", scene->context, scene->listeners);

	if (pool == NULL) {
		err_set(err, EX_OSERR, "out of memory");
		return NULL;
	}
	if (state_take(in, "pool", pool_rows, pool, err) != 0 ||
		restore_roster(pool, in, err) != 0 || restore_board(pool, in, err) != 0)
		return NULL;
	while (state_has(in, "generation"))
		if (restore_generation(pool, in, scene, err) != 0)
			return NULL;
	while (state_has(in, "worker"))
		if (restore_member(pool, in, scene, err) != 0)
			return NULL;
	return pool;
}
