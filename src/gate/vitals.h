/*
 * vitals: CPU time and resident size of the workers, from /proc, where everybody may read them.
 */
#ifndef PREFORKD_VITALS_H
#define PREFORKD_VITALS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct ledger;
struct vitals;

struct vital {
	bool known;
	double cpu_seconds;
	uint64_t resident_bytes;
};

/* master: whose children they have to be. */
struct vitals *vitals_open(pid_t master);
/* Reads anew, as many as a few milliseconds allow; the others keep what was read last. */
void vitals_take(struct vitals *vitals, const struct ledger *ledger);
/* Of the worker at that place in the ledger that was given last. */
struct vital vitals_of(const struct vitals *vitals, uint32_t index);

#endif
