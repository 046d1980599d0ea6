/*
 * recycle: who is due, who may go.
 *
 * An outgoing worker serves on until its replacement is ready; one that is near max-requests serves
 * on until it has answered them all, unless others are waiting for their turn meanwhile, or a
 * reload needs its place.
 */
#include "master/recycle.h"

#include <stdlib.h>

#include "common/board.h"
#include "common/conf.h"
#include "common/log.h"
#include "master/generation.h"
#include "master/policy.h"
#include "master/roster.h"
#include "master/watch.h"

#define TURN 1000 /* ms that an outgoing worker may linger while others wait for their turn */

bool recycle_by_wish(const struct conf_pool *conf)
{
	return conf->kind != CONF_COMMAND && (conf->max_requests > 0 || conf->max_memory > 0);
}

bool recycle_by_weight(const struct conf_pool *conf)
{
	return conf->kind == CONF_COMMAND && conf->max_memory > 0;
}

void recycle_draw(const struct conf_pool *conf, uint64_t now, struct recycle_limits *out)
{
	out->old_at = UINT64_MAX;
	if (conf->max_age > 0)
		out->old_at = now + policy_spread(conf->max_age, arc4random());
	out->max_requests = policy_spread(conf->max_requests, arc4random());
	out->max_memory = policy_spread(conf->max_memory, arc4random());
}

static enum board_wish wish_of(const struct member *m, const struct board *board)
{
	struct board_worker said = { 0 };

	if (!recycle_by_wish(m->watch->conf))
		return BOARD_STAYS;
	board_read(board, m->watch->slot, &said);
	return said.wish;
}

/* NULL: it stays. */
static const char *why_due(const struct member *m, const struct board *board, uint64_t now)
{
	if (now >= m->old_at)
		return "max-age";
	if (m->heavy)
		return "max-memory";
	if (wish_of(m, board) == BOARD_STAYS)
		return NULL;
	return m->watch->conf->max_requests == 0 ? "max-memory"
	       : m->watch->conf->max_memory == 0 ? "max-requests"
						 : "max-requests or max-memory";
}

static bool is_of(const struct member *m, const struct generation *g)
{
	return m->watch != NULL && m->generation == g;
}

/* On their way out, whether told to go already or not. */
static unsigned count_outgoing(const struct roster *roster, const struct generation *g)
{
	unsigned n = 0;

	for (unsigned s = 1; s <= roster->slots; s++)
		n += is_of(&roster->members[s], g) && roster->members[s].outgoing != 0;
	return n;
}

/* The oldest of those that are due and not marked yet; NULL: none is. Lowers *next to when the next
 * one will be due by its age. */
static struct member *find_due(const struct roster *roster, const struct generation *g,
	const struct board *board, uint64_t now, uint64_t *next)
{
	struct member *oldest = NULL;

	for (unsigned s = 1; s <= roster->slots; s++) {
		struct member *m = &roster->members[s];

		if (!is_of(m, g) || m->outgoing != 0 || m->watch->state != LIFE_UP)
			continue;
		if (why_due(m, board, now) == NULL)
			*next = m->old_at < *next ? m->old_at : *next;
		else if (oldest == NULL || m->watch->started < oldest->watch->started)
			oldest = m;
	}
	return oldest;
}

/* Marks as many as may go at a time. Returns when the next one will be due by its age; *waiting:
 * one is due that has to wait for its turn. */
static uint64_t mark(const struct roster *roster, const struct generation *g,
	const struct board *board, uint64_t now, bool *waiting)
{
	unsigned outgoing = count_outgoing(roster, g), most = policy_recycle_most(g->want);
	uint64_t next = UINT64_MAX;
	struct member *m;

	while ((m = find_due(roster, g, board, now, &next)) != NULL && outgoing < most) {
		log_info("pool %s: worker %d is to be replaced: %s", g->conf->name,
			(int)m->watch->pid, why_due(m, board, now));
		m->outgoing = now;
		outgoing++;
	}
	*waiting = m != NULL;
	return next;
}

/* Near its limit, and no other reason to go. */
static bool may_linger(const struct member *m, const struct board *board, uint64_t now)
{
	return now < m->old_at && !m->heavy && wish_of(m, board) == BOARD_GOES_SOON;
}

uint64_t recycle_follow(const struct roster *roster, const struct generation *g,
	const struct board *board, bool begin, uint64_t now)
{
	bool waiting = false;
	uint64_t next = begin ? mark(roster, g, board, now, &waiting) : UINT64_MAX;

	if (roster_count(roster, g, true) < g->want)
		return next;
	for (unsigned s = 1; s <= roster->slots; s++) {
		struct member *m = &roster->members[s];

		if (!is_of(m, g) || m->outgoing == 0 || m->watch->state != LIFE_UP)
			continue;
		if (!begin || !may_linger(m, board, now) || (waiting && now >= m->outgoing + TURN))
			watch_event(m->watch, LIFE_EV_RETIRE, now);
		else if (waiting)
			next = m->outgoing + TURN < next ? m->outgoing + TURN : next;
		else if (m->old_at < next)
			next = m->old_at;
	}
	return next;
}
