/*
 * herald: writes into the ledger what the daemon, its pools and their workers are doing. Decides
 * nothing; looks at a bounded number of programs each time.
 */
#ifndef PREFORKD_HERALD_H
#define PREFORKD_HERALD_H

#include <stdint.h>
#include <sys/types.h>

#include "common/ledger.h"

struct fleet;
struct heritage;

struct herald {
	const struct fleet *fleet;
	const struct heritage *heritage;
	const char *version;
	enum ledger_phase phase;
};

/* What is not known to the fleet. */
struct herald_gate {
	pid_t pid;
	unsigned restarts;
};

/* -1: no memory. */
int herald_write(
	struct herald *h, const struct herald_gate *gate, struct ledger *ledger, uint64_t now);

#endif
