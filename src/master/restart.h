/*
 * restart: what the deaths of a pool's workers mean for the next start, and what the log says of
 * them.
 */
#ifndef PREFORKD_RESTART_H
#define PREFORKD_RESTART_H

#include <stdbool.h>
#include <stdint.h>

#include "master/obituary.h"
#include "master/policy.h"

struct board;
struct member;
struct roster;

struct restart {
	struct policy_restart policy;
	struct obituary obituary; /* of the last death, until what happens next is known */
};

struct restart_death {
	enum policy_death kind;
	uint64_t requests; /* that it has answered, where that is known */
};

/* Died unasked: was it the program's fault? board: NULL where no worker runs inside preforkd. */
struct restart_death restart_judge(
	const struct member *m, const struct board *board, int status, uint64_t now);

/* Counts it, and writes the obituary if there is news. workers: how many there should be. */
void restart_count(struct restart *r, const char *pool, const struct member *m,
	const struct restart_death *death, int status, uint64_t now);

/* Has a worker started after the last failure shown that starting works? Then the back-off ends. If
 * one is still on trial: true, and *next is when it will be known. */
bool restart_is_on_trial(struct restart *r, const char *pool, const struct roster *roster,
	const struct board *board, uint64_t now, uint64_t *next);

/* Tells the last death with what happens next. */
void restart_tell(struct restart *r);

#endif
