/*
 * muster: prepares them all, forks them all, and only then begins to follow them.
 *
 * fork(2) shares every page anew, and whoever writes to one first pays for a copy: the master too.
 * So nothing is written between two forks but the stack.
 */
#include "master/muster.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/board.h"
#include "common/conf.h"
#include "common/err.h"
#include "master/accessfile.h"
#include "master/generation.h"
#include "master/obituary.h"
#include "master/poolstate.h"
#include "master/recycle.h"
#include "master/watch.h"

struct muster {
	struct pool *pool;
	struct generation *generation;
	unsigned last_slot; /* that was taken */
	unsigned count;
	int null_fd;
	struct watch_start starts[MUSTER_MOST];
};

static int prepare_page(const struct pool *pool, unsigned slot, struct err *err)
{
	if (board_prepare(pool->board, slot) != 0)
		return err_set(err, EX_OSERR, "pool %s: cannot make a page: %s", pool->name,
			strerror(errno));
	board_listen(pool->board, slot); /* nobody may look until its first request */
	return 0;
}

static size_t choose_listener(const struct pool *pool, const struct generation *g)
{
	if (pool->upkeep.hungry < g->listener_count && g == pool->current)
		return pool->upkeep.hungry;
	return roster_poorest_listener(&pool->roster, g);
}

/* Has its seat in the roster from now on: the next one takes another slot, another listener. */
static int prepare(struct muster *m, uint64_t now, struct err *err)
{
	struct pool *pool = m->pool;
	struct generation *g = m->generation;
	bool command = g->conf->kind == CONF_COMMAND;
	unsigned slot = roster_free_slot(&pool->roster, m->last_slot);
	size_t listener = choose_listener(pool, g);
	struct recycle_limits limits;

	if (slot == 0)
		return err_set(err, EX_OSERR, "pool %s: no slot is free", pool->name);
	if (!command && prepare_page(pool, slot, err) != 0)
		return -1;
	recycle_draw(g->conf, now, &limits);
	const struct watch_seat seat = { .conf = g->conf,
		.slot = slot,
		.listeners = command ? &g->listener_fds[listener] : g->listener_fds,
		.listener_count = command ? 1 : g->listener_count,
		.shared_fd = command ? -1 : board_fd(pool->board, 0),
		.board_fd = command ? -1 : board_fd(pool->board, slot),
		.handover = pool->handover.fds,
		.bell_fd = command ? -1 : pool->bell,
		.access_fd = g->access.ends[1],
		.null_fd = m->null_fd,
		.max_requests = limits.max_requests,
		.max_memory = limits.max_memory };
	struct watch_start *start = &m->starts[m->count];
	if (watch_prepare(start, pool->context, &seat, err) != 0)
		return -1;
	start->watch->listener = listener;
	pool->roster.members[slot] = (struct member){ .watch = start->watch,
		.generation = g,
		.old_at = limits.old_at,
		.max_memory = command ? limits.max_memory : 0 };
	m->last_slot = slot;
	m->count++;
	return 0;
}

static void begin(const struct muster *m, struct watch_start *start, uint64_t now)
{
	struct pool *pool = m->pool;
	char next[48];

	watch_begin(start, pool->context, m->generation->sink, now);
	m->generation->workers++;
	pool->tally.spawned++;
	snprintf(next, sizeof(next), "replaced by %d", (int)start->watch->pid);
	obituary_tell(&pool->restart.obituary, next);
}

static void abandon(const struct muster *m, struct watch_start *start)
{
	m->pool->roster.members[start->watch->slot] = (struct member){ 0 };
	watch_abandon(start);
}

int muster(struct pool *pool, struct generation *g, unsigned n, uint64_t now, struct err *err)
{
	struct muster m = { .pool = pool,
		.generation = g,
		.null_fd = open("/dev/null", O_RDWR | O_CLOEXEC | O_NOCTTY) };
	unsigned forked = 0;
	int rc = 0;

	if (m.null_fd < 0)
		return err_set(err, EX_OSERR, "cannot open /dev/null: %s", strerror(errno));
	accessfile_mend(&g->access);
	while (rc == 0 && m.count < n)
		rc = prepare(&m, now, err);
	while (forked < m.count && watch_fork(&m.starts[forked], pool->context) == 0)
		forked++;
	if (forked < m.count)
		rc = err_set(err, EX_OSERR, "cannot fork: %s", strerror(errno));
	for (unsigned i = 0; i < m.count; i++) {
		if (i < forked)
			begin(&m, &m.starts[i], now);
		else
			abandon(&m, &m.starts[i]);
	}
	close(m.null_fd);
	return rc;
}
