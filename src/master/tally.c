/*
 * tally: adds up. What a worker says of itself is bounded by its age, so that one that lies cannot
 * spoil its pool's sums for good.
 */
#include "master/tally.h"

#include <sys/wait.h>

#include "common/board.h"
#include "common/conf.h"
#include "master/roster.h"
#include "master/watch.h"

#define FASTEST 1000 /* requests in a millisecond that nobody answers */

uint64_t tally_requests(struct member *m, const struct board *board, uint64_t now)
{
	uint64_t possible = (now - m->watch->started + 1) * FASTEST;
	struct board_worker said;

	board_read(board, m->watch->slot, &said);
	if (said.requests > possible)
		said.requests = possible;
	if (said.requests > m->answered)
		m->answered = said.requests;
	return m->answered;
}

static enum ledger_death cause(
	const struct watch *w, bool unasked, enum policy_death kind, int status)
{
	if (w->expired)
		return LEDGER_TIMEOUT;
	if (!unasked)
		return LEDGER_RETIRED;
	if (kind == POLICY_FAILED_START)
		return LEDGER_FAILED_START;
	return WIFSIGNALED(status) ? LEDGER_SIGNAL : LEDGER_EXITED;
}

void tally_died(struct tally *tally, struct member *m, const struct board *board, bool unasked,
	enum policy_death kind, int status, uint64_t now)
{
	if (m->watch->conf->kind != CONF_COMMAND)
		tally->requests += tally_requests(m, board, now);
	tally->died[cause(m->watch, unasked, kind, status)]++;
}
