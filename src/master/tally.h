/*
 * tally: what a pool counts over the lives of its workers. Its figures never go back: neither when
 * a worker dies, nor at a reload or an upgrade, nor when a worker takes back what it said.
 */
#ifndef PREFORKD_TALLY_H
#define PREFORKD_TALLY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/board.h"
#include "common/ledger.h"
#include "master/policy.h"

struct member;

/* All zero is the right start. */
struct tally {
	struct board_figures gone; /* of workers that are dead */
	uint64_t spawned;
	uint64_t died[LEDGER_DEATHS];
};

/* What a worker inside preforkd has counted: never less than before, and no more than is possible.
 */
const struct board_figures *tally_read(struct member *m, const struct board *board, uint64_t now);

/* Adds what can be added: counters, and the connections that are held. */
void tally_add(struct board_figures *sum, const struct board_figures *figures);

/* It is dead, and its page is as it has left it. unasked: nobody had told it to go; kind says then
 * how. */
void tally_died(struct tally *tally, struct member *m, const struct board *board, bool unasked,
	enum policy_death kind, int status, uint64_t now);

#endif
