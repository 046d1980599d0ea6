/*
 * policy: the rules for restarts.
 *
 * Two kinds of death, two answers. A program that cannot start would be forked as fast as the
 * machine can: its delay doubles, and one worker at a time is tried until one proves itself. A
 * worker that crashed after it had served is replaced at once; a bucket only bounds the rate, so
 * that whoever can crash workers with bad requests cannot turn the back-off into an outage.
 */
#include "master/policy.h"

#define RESTARTS_PER_SECOND 20u /* at least; a pool with more workers may restart them all */
#define BURST_SECONDS 2u

enum policy_death policy_judge(const struct policy_obituary *o)
{
	/* Nobody sends SIGKILL to himself: an administrator, or the kernel short of memory. */
	if (o->by_sigkill)
		return POLICY_CRASH;
	if (!o->was_ready)
		return POLICY_FAILED_START;
	if (o->requests_known && o->requests > 0)
		return POLICY_CRASH;
	/* A program that was ready and then died by a signal met a request that it did not survive.
	 */
	if (o->lived >= POLICY_PROVEN || (o->by_signal && !o->requests_known))
		return POLICY_CRASH;
	return POLICY_FAILED_START;
}

static uint64_t rate(unsigned workers)
{
	return workers > RESTARTS_PER_SECOND ? workers : RESTARTS_PER_SECOND;
}

/* A rate of one a second is one thousandth a millisecond. */
static void settle(struct policy_restart *r, unsigned workers, uint64_t now)
{
	uint64_t back = (now - r->settled_at) * rate(workers);

	r->debt = back < r->debt ? r->debt - back : 0;
	r->settled_at = now;
}

bool policy_died(struct policy_restart *r, enum policy_death death, unsigned workers,
	uint64_t started, uint64_t now)
{
	if (death == POLICY_CRASH) {
		settle(r, workers, now);
		r->debt += 1000;
		return false;
	}
	/* Several that were started together fail together: that is one failure. */
	if (r->delay > 0 && started <= r->last_failure)
		return false;
	uint64_t before = r->delay;
	r->delay = before == 0 ? POLICY_DELAY_MIN : before * 2;
	if (r->delay > POLICY_DELAY_MAX)
		r->delay = POLICY_DELAY_MAX;
	r->last_failure = now;
	r->retry_at = now + r->delay;
	return r->delay != before;
}

void policy_proven(struct policy_restart *r)
{
	r->delay = 0;
}

unsigned policy_start(struct policy_restart *r, unsigned missing, unsigned workers, bool probing,
	uint64_t now, uint64_t *next)
{
	*next = POLICY_NEVER;
	if (missing == 0)
		return 0;
	if (r->delay > 0) {
		if (now < r->retry_at) {
			*next = r->retry_at;
			return 0;
		}
		return probing ? 0 : 1;
	}
	settle(r, workers, now);
	uint64_t allowed = rate(workers) * BURST_SECONDS * 1000;
	if (r->debt <= allowed)
		return missing;
	uint64_t waiting = (r->debt - allowed + 999) / 1000; /* restarts that have to wait */
	uint64_t part = (r->debt - allowed) % 1000 == 0 ? 1000 : (r->debt - allowed) % 1000;
	*next = now + (part + rate(workers) - 1) / rate(workers);
	return waiting >= missing ? 0 : missing - (unsigned)waiting;
}
