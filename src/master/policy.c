/*
 * policy: the rules for restarts, for the number of workers, and for recycling.
 *
 * Restarts: two kinds of death, two answers. A program that cannot start would be forked as fast as
 * the machine can: its delay doubles, and one worker at a time is tried until one proves itself. A
 * worker that crashed after it had served is replaced at once; a bucket only bounds the rate, so
 * that whoever can crash workers with bad requests cannot turn the back-off into an outage.
 *
 * Number: it grows at once when connections stand and no worker is idle, and shrinks late, to what
 * the load of the last idle-timeout has needed.
 */
#include "master/policy.h"

#define RESTARTS_PER_SECOND 20u /* at least; a pool with more workers may restart them all */
#define BURST_SECONDS 2u

uint64_t policy_earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

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

void policy_settle(struct policy_demand *d, unsigned want, uint64_t now)
{
	*d = (struct policy_demand){ .want = want, .window_began = now, .needed = want };
}

static unsigned within(const struct policy_limits *limits, unsigned workers)
{
	if (workers < limits->min)
		return limits->min;
	return workers < limits->max ? workers : limits->max;
}

/* Connections stand: twice as many more as the last time, but never more than stand there and have
 * nobody on the way. */
static unsigned grow(const struct policy_limits *limits, const struct policy_load *load,
	struct policy_demand *d, unsigned live, uint64_t now, uint64_t *next)
{
	uint64_t patience = load->idle > 0 ? POLICY_STANDING_LONG : POLICY_STANDING;

	if (d->standing == 0)
		d->standing = now;
	if (d->want >= limits->max)
		return d->want;
	if (live > 0 && now - d->standing < patience) {
		*next = policy_earlier(*next, d->standing + patience);
		return d->want;
	}
	unsigned alone = load->queue > load->starting ? load->queue - load->starting : 0;
	d->step = d->step == 0 ? 1 : d->step * 2;
	if (d->step > alone)
		d->step = alone;
	*next = policy_earlier(*next, now + POLICY_STANDING);
	return live + d->step > d->want ? live + d->step : d->want;
}

/* What the load has needed at the worst moment of the last idle-timeout is enough. */
static unsigned shrink(
	const struct policy_limits *limits, struct policy_demand *d, uint64_t now, uint64_t *next)
{
	uint64_t end = d->window_began + limits->idle_timeout;
	uint64_t idle_end = d->idle_since + limits->idle_timeout;

	if (d->want <= limits->min)
		return d->want;
	if (d->idle_since != 0 && now >= idle_end)
		return limits->min;
	if (d->idle_since != 0) {
		*next = policy_earlier(*next, idle_end);
		return d->want;
	}
	if (now >= end)
		return d->needed < d->want ? d->needed : d->want;
	*next = policy_earlier(*next, end);
	return d->want;
}

unsigned policy_want(const struct policy_limits *limits, const struct policy_load *load,
	struct policy_demand *d, uint64_t now, uint64_t *next)
{
	unsigned live = load->idle + load->busy + load->starting + load->elsewhere;
	unsigned needed = load->busy > 0 ? load->busy + limits->spare : 0;
	bool working = load->busy > 0 || load->queue > 0;

	*next = POLICY_NEVER;
	d->want = within(limits, d->want);
	if (working)
		d->idle_since = 0;
	else if (d->idle_since == 0)
		d->idle_since = now;
	if (load->queue == 0)
		d->standing = d->step = 0;
	unsigned want = load->queue > 0 ? grow(limits, load, d, live, now, next) : d->want;
	want = within(limits, needed > want ? needed : want);
	if (want > d->want || load->queue > 0)
		needed = want;
	if (needed > d->needed)
		d->needed = needed;
	d->want = want;
	want = within(limits, shrink(limits, d, now, next));
	if (want < d->want || now - d->window_began >= limits->idle_timeout) {
		d->window_began = now;
		d->needed = needed;
	}
	d->want = want;
	return want;
}

unsigned policy_recycle_most(unsigned workers)
{
	return workers >= 20 ? workers / 10 : 1;
}

uint64_t policy_spread(uint64_t limit, uint32_t random)
{
	uint64_t fifth = limit / 5;

	if (limit == 0)
		return 0;
	return limit - limit / 10 + (fifth == 0 ? 0 : random % (fifth + 1));
}
