/*
 * tally: adds up. What a worker says of itself is bounded by its age, so that one that lies cannot
 * spoil its pool's sums for good.
 */
#include "master/tally.h"

#include <sys/wait.h>

#include "common/conf.h"
#include "master/roster.h"
#include "master/watch.h"

#define FASTEST 1000                         /* requests in a millisecond that nobody answers */
#define BYTES_MOST 100000000                 /* bytes in a millisecond that nobody copies */
#define SUM_MOST (INT64_MAX / BOARD_BUCKETS) /* that all buckets together can be shown */

static uint64_t at_most(uint64_t number, uint64_t most)
{
	return number < most ? number : most;
}

static void raise_to(uint64_t *counter, uint64_t said, uint64_t most)
{
	said = at_most(said, most);
	if (said > *counter)
		*counter = said;
}

const struct board_figures *tally_read(struct member *m, const struct board *board, uint64_t now)
{
	uint64_t age = now - m->watch->started + 1;
	struct board_figures said;

	board_read_figures(board, m->watch->slot, &said);
	raise_to(&m->said.requests, said.requests, age * FASTEST);
	raise_to(&m->said.bytes_in, said.bytes_in, age * BYTES_MOST);
	raise_to(&m->said.bytes_out, said.bytes_out, age * BYTES_MOST);
	raise_to(&m->said.total_us, said.total_us, age * 1000);
	for (size_t i = 0; i < BOARD_BUCKETS; i++)
		raise_to(&m->said.buckets[i], said.buckets[i], age * FASTEST);
	m->said.last_us = at_most(said.last_us, age * 1000);
	m->said.connections = said.connections;
	return &m->said;
}

static void add(uint64_t *sum, uint64_t more)
{
	*sum = at_most(*sum + more, SUM_MOST);
}

/* Each is at most BOARD_MOST, but there is no end of workers. */
void tally_add(struct board_figures *sum, const struct board_figures *figures)
{
	add(&sum->requests, figures->requests);
	add(&sum->bytes_in, figures->bytes_in);
	add(&sum->bytes_out, figures->bytes_out);
	add(&sum->total_us, figures->total_us);
	for (size_t i = 0; i < BOARD_BUCKETS; i++)
		add(&sum->buckets[i], figures->buckets[i]);
	sum->connections += figures->connections;
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
		tally_add(&tally->gone, tally_read(m, board, now));
	tally->gone.connections = 0;
	tally->died[cause(m->watch, unasked, kind, status)]++;
}
