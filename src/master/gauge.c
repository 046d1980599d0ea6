/*
 * gauge: workers inside preforkd say on the scoreboard what they do; programs are looked at through
 * /proc. What either says is clamped: a worker can only lie about itself.
 */
#include "master/gauge.h"

#include "common/board.h"
#include "common/conf.h"
#include "master/generation.h"
#include "master/grip.h"
#include "master/listen.h"
#include "master/look.h"
#include "master/queue.h"
#include "master/roster.h"
#include "master/watch.h"

static void look_at_board(struct member *m, const struct board *board, uint64_t now)
{
	struct board_worker said = { 0 };

	board_read(board, m->watch->slot, &said);
	m->busy = said.busy || said.wish == BOARD_GOES_NOW;
	m->since = said.since;
	/* No request began before its worker, or in the future. */
	if (said.since != 0 && (said.since < m->watch->started || said.since > now))
		m->since = now;
}

/* A program that holds a connection takes no other; while it waits there for its client, no request
 * is running. */
static void look_at_program(struct member *m, uint64_t now)
{
	struct grip grip = { 0 };

	if (look_at(m->watch->pid) != LOOK_ACCEPTING)
		grip_look(m->watch->pid, &m->watch->retire.listener, &grip);
	m->busy = grip.holds;
	if (!grip.holds || grip.reads)
		m->since = 0;
	else if (m->since == 0 || grip.connection != m->connection)
		m->since = now;
	m->connection = grip.connection;
	m->looked = true;
}

static void look_at_member(struct member *m, const struct board *board, uint64_t now)
{
	if (m->watch->conf->kind == CONF_COMMAND)
		look_at_program(m, now);
	else
		look_at_board(m, board, now);
}

static void count(const struct member *m, struct policy_load *load)
{
	if (m->watch->state == LIFE_STARTING)
		load->starting++;
	else if (m->watch->state == LIFE_UP && m->busy)
		load->busy++;
	else if (m->watch->state == LIFE_UP)
		load->idle++;
}

static void look_at_connections(
	const struct member *m, const struct board *board, struct gauge *out)
{
	struct board_figures said;

	if (m->watch->conf->kind == CONF_COMMAND)
		return;
	board_read_figures(board, m->watch->slot, &said);
	out->held = out->held || (m->watch->state == LIFE_UP && said.connections > 0);
	out->leaving = out->leaving || m->watch->state == LIFE_RETIRING;
}

static unsigned idle_at(const struct roster *roster, const struct generation *g, size_t listener)
{
	unsigned n = 0;

	for (unsigned s = 1; s <= roster->slots; s++) {
		const struct watch *w = roster_idle(&roster->members[s], g);

		n += w != NULL && w->listener == listener;
	}
	return n;
}

/* Programs serve one listener each: idle ones elsewhere do not help. One without any worker is
 * hungrier than any that has one. */
static void look_at_queues(
	const struct roster *roster, const struct generation *g, struct gauge *out)
{
	unsigned longest = 0;
	bool starving = false;

	for (size_t l = 0; l < g->listener_count; l++) {
		struct queue queue;

		(void)queue_read(g->listener_fds[l], &queue);
		if (queue.waiting == 0)
			continue;
		if (queue.waiting > g->listeners[l]->high)
			g->listeners[l]->high = queue.waiting;
		out->load.queue += queue.waiting;
		if (g->conf->kind != CONF_COMMAND)
			continue;
		bool alone = roster_count_at(roster, g, l) == 0;
		if (alone < starving || (alone == starving && queue.waiting <= longest))
			continue;
		starving = alone;
		longest = queue.waiting;
		out->hungry = l;
	}
	if (longest > 0 && g->listener_count > 1) {
		unsigned here = idle_at(roster, g, out->hungry);

		out->load.elsewhere = out->load.idle - here;
		out->load.idle = here;
	}
}

void gauge_look(const struct roster *roster, const struct generation *current,
	const struct board *board, uint64_t now, struct gauge *out)
{
	*out = (struct gauge){ .hungry = SIZE_MAX };
	for (unsigned s = 1; s <= roster->slots; s++) {
		struct member *m = &roster->members[s];

		if (m->watch == NULL)
			continue;
		if (m->watch->state == LIFE_UP || m->watch->state == LIFE_RETIRING)
			look_at_member(m, board, now);
		if (m->generation == current && m->outgoing == 0)
			count(m, &out->load);
		if (current != NULL && current->range.min == 0)
			look_at_connections(m, board, out);
		out->working = out->working || m->since != 0 || m->busy ||
			       m->watch->state == LIFE_STARTING;
	}
	if (current != NULL)
		look_at_queues(roster, current, out);
	out->working = out->working || out->load.queue > 0;
}

void gauge_weigh(const struct roster *roster)
{
	for (unsigned s = 1; s <= roster->slots; s++) {
		struct member *m = &roster->members[s];

		if (m->watch != NULL && m->max_memory > 0 && m->watch->state == LIFE_UP)
			m->heavy = m->heavy || look_resident(m->watch->pid) >= m->max_memory;
	}
}
