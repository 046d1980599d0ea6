/*
 * policy: decides, acts never. How many workers may be started now, and how a death counts.
 *
 * Pure functions: no system call, and "now" (milliseconds of a monotonic clock) is an argument.
 */
#ifndef PREFORKD_POLICY_H
#define PREFORKD_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#define POLICY_NEVER UINT64_MAX
#define POLICY_DELAY_MIN 100  /* ms: the first delay after a failed start */
#define POLICY_DELAY_MAX 5000 /* ms: the longest */
#define POLICY_PROVEN 1000    /* ms: a worker that lived so long did not fail to start */

/* Of two times at which something is due; POLICY_NEVER comes after all others. */
uint64_t policy_earlier(uint64_t a, uint64_t b);

/* What is known of a worker when it is dead. */
struct policy_obituary {
	bool was_ready;
	bool by_signal;
	bool by_sigkill;
	bool requests_known; /* exec'd programs do not tell */
	uint64_t requests;
	uint64_t lived; /* ms since it was started */
};

enum policy_death {
	POLICY_FAILED_START, /* it never got ready, or left at once: the program is to blame */
	POLICY_CRASH,        /* it served, or somebody killed it: a single loss */
};

enum policy_death policy_judge(const struct policy_obituary *obituary);

/* Restarts of one pool. All zero is the right start. */
struct policy_restart {
	uint64_t delay;        /* 0: no back-off; else POLICY_DELAY_MIN..MAX */
	uint64_t retry_at;     /* not before, while delay > 0 */
	uint64_t last_failure; /* a worker started before does not double the delay again */
	uint64_t debt;         /* thousandths of a restart spent beyond what has come back since */
	uint64_t settled_at;   /* when debt was last reduced */
};

/* Returns true when the back-off has just begun or grown: the moment to say so in the log. */
bool policy_died(struct policy_restart *restart, enum policy_death death, unsigned workers,
	uint64_t started, uint64_t now);

/* A worker that was started after the last failure has served or lived long enough. */
void policy_proven(struct policy_restart *restart);

/*
 * How many of the missing workers may be started now. probing: one that was started after the last
 * failure is alive and not yet proven. *next is when to ask again, POLICY_NEVER if only an event
 * can change the answer.
 */
unsigned policy_start(struct policy_restart *restart, unsigned missing, unsigned workers,
	bool probing, uint64_t now, uint64_t *next);

/* How many workers there should be, where that follows the load: MIN..MAX. */
#define POLICY_STANDING 3        /* ms that connections wait while no worker is idle */
#define POLICY_STANDING_LONG 100 /* ms that they wait though workers seem idle */

struct policy_limits {
	unsigned min, max, spare;
	uint64_t idle_timeout; /* ms */
};

/* As it is now. */
struct policy_load {
	unsigned queue;                /* connections that nobody has accepted */
	unsigned idle, busy, starting; /* workers that will stay */
	unsigned elsewhere;            /* idle too, but where no connection waits */
};

/* What is remembered from one look to the next. Begins with policy_settle(). */
struct policy_demand {
	unsigned want;
	uint64_t standing;     /* since when connections wait; 0: none do */
	unsigned step;         /* so many were started last; 0: the queue has been empty since */
	uint64_t idle_since;   /* since when nobody works; 0: somebody does */
	uint64_t window_began; /* the time over which "needed" is the highest */
	unsigned needed;
};

void policy_settle(struct policy_demand *demand, unsigned want, uint64_t now);

/* Returns how many workers there should be. *next is when to look again though nothing has
 * happened, POLICY_NEVER: not before something does. */
unsigned policy_want(const struct policy_limits *limits, const struct policy_load *load,
	struct policy_demand *demand, uint64_t now, uint64_t *next);

/* How many of a pool's workers may be on their way out at a time, to be replaced by others. */
unsigned policy_recycle_most(unsigned workers);

/* A worker's own limit: 90 to 110 % of the one that was configured, but at least 1; 0 stays 0.
 * random: any number. */
uint64_t policy_spread(uint64_t limit, uint32_t random);

#endif
