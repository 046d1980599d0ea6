/*
 * A pool that exists only on paper: the table of a worker's life and the rules for restarts, driven
 * by random events as the master drives them. Whatever happens, in whatever order, some things must
 * never be seen; they are checked after every event.
 *
 * A failure prints the seed of its sequence: test_random SEED plays that one alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "master/life.h"
#include "master/policy.h"

#if defined(__SANITIZE_ADDRESS__)
#define EVENTS 100000u
#else
#define EVENTS 1000000u
#endif
#define LENGTH 250u /* events of one sequence */
#define WORKERS_MAX 16u
#define SLOTS (2 * WORKERS_MAX)
#define PIDS 16384u /* more than one sequence can use up */
#define START_TIMEOUT 3000u
#define STOP_TIMEOUT 2000u
#define EXPIRE_GRACE 500u
#define SECONDS_AFTER_STOP (START_TIMEOUT + STOP_TIMEOUT + EXPIRE_GRACE + 1000u)

/* What the simulated process does with what it is told; it does not always obey. */
enum manner { OBEDIENT, SLOW, DEAF, MANNERS };

struct process {
	unsigned pid; /* 0: the slot is free */
	enum life_state state;
	enum manner manner;
	bool was_ready, killed, told, dead;
	uint64_t started, deadline;
	uint64_t requests;
	unsigned generation;
};

struct paper_pool {
	uint64_t random; /* xorshift64: the same everywhere */
	uint64_t now;
	struct process slots[SLOTS + 1];
	unsigned want, most; /* most: what the limit of living workers is made of */
	unsigned generation;
	unsigned next_pid;
	unsigned reaped[PIDS / 32]; /* a bit for each pid of this sequence */
	struct policy_restart restart;
	bool stopped;
	unsigned starts_in_back_off;
};

static uint64_t seed; /* of the sequence under way, for the message */

#define MUST(condition, p) must(condition, #condition, __LINE__, p)
static void must(bool holds, const char *what, int line, const struct paper_pool *p)
{
	if (!holds)
		fail_msg("seed %" PRIu64 ", time %" PRIu64 ", line %d: %s", seed, p->now, line,
			what);
}

static unsigned dice(struct paper_pool *p, unsigned sides)
{
	p->random ^= p->random << 13;
	p->random ^= p->random >> 7;
	p->random ^= p->random << 17;
	return (unsigned)(p->random >> 33) % sides;
}

static unsigned count(const struct paper_pool *p, bool serving)
{
	unsigned n = 0;

	for (unsigned s = 1; s <= SLOTS; s++) {
		const struct process *w = &p->slots[s];

		n += w->pid != 0 && (!serving || w->state == LIFE_UP || w->state == LIFE_STARTING);
	}
	return n;
}

static void feed(struct paper_pool *p, struct process *w, enum life_event event)
{
	struct life_step step = life_step(w->state, event);

	w->state = step.next;
	switch (step.action) {
	case LIFE_DO_SERVE:
		MUST(!w->was_ready, p);
		w->was_ready = true;
		break;
	case LIFE_DO_STOP:
		MUST(!w->told, p);
		w->told = true;
		w->deadline = p->now + STOP_TIMEOUT;
		break;
	case LIFE_DO_EXPIRE:
		w->deadline = p->now + EXPIRE_GRACE;
		break;
	case LIFE_DO_KILL:
		MUST(!w->killed, p);
		w->killed = true;
		break;
	default:
		break;
	}
}

static void count_death(struct paper_pool *p, const struct process *w, bool by_signal)
{
	struct policy_obituary o = { .was_ready = w->was_ready,
		.by_signal = by_signal,
		.by_sigkill = by_signal && w->killed && w->state != LIFE_FAILING,
		.requests_known = w->pid % 2 == 0,
		.requests = w->requests,
		.lived = p->now - w->started };
	uint64_t before = p->restart.delay;

	policy_died(&p->restart, policy_judge(&o), p->want, w->started, p->now);
	MUST(p->restart.delay == 0 || p->restart.delay >= POLICY_DELAY_MIN, p);
	MUST(p->restart.delay <= POLICY_DELAY_MAX, p);
	MUST(p->restart.delay >= before, p);
}

static void reap(struct paper_pool *p, struct process *w)
{
	unsigned word = w->pid / 32, bit = 1u << w->pid % 32;
	bool replaced = life_step(w->state, LIFE_EV_DIED).action == LIFE_DO_REPLACE;

	MUST((p->reaped[word] & bit) == 0, p);
	p->reaped[word] |= bit;
	if (replaced)
		count_death(p, w, w->killed || dice(p, 2) == 0);
	MUST(!replaced || (!w->told && w->state != LIFE_KILLED), p);
	feed(p, w, LIFE_EV_DIED);
	MUST(w->state == LIFE_GONE, p);
	memset(w, 0, sizeof(*w));
}

static struct process *start(struct paper_pool *p)
{
	unsigned s = 1;

	MUST(!p->stopped, p);
	while (s < SLOTS && p->slots[s].pid != 0)
		s++;
	MUST(p->slots[s].pid == 0 && p->next_pid + 1 < PIDS, p);
	p->slots[s] = (struct process){ .pid = ++p->next_pid,
		.state = LIFE_STARTING,
		.manner = (enum manner)dice(p, MANNERS),
		.started = p->now,
		.deadline = p->now + START_TIMEOUT,
		.generation = p->generation };
	return &p->slots[s];
}

/* Those on trial: started after the last failure and not yet proven. */
static unsigned trials(struct paper_pool *p)
{
	unsigned n = 0;

	for (unsigned s = 1; p->restart.delay > 0 && s <= SLOTS; s++) {
		const struct process *w = &p->slots[s];

		if (w->pid == 0 || w->started < p->restart.last_failure ||
			(w->state != LIFE_UP && w->state != LIFE_STARTING))
			continue;
		if (w->was_ready && (p->now >= w->started + POLICY_PROVEN || w->requests > 0)) {
			policy_proven(&p->restart);
			return 0;
		}
		n++;
	}
	return n;
}

static void fill(struct paper_pool *p)
{
	unsigned have = count(p, true), living = count(p, false), on_trial = trials(p);
	bool back_off = p->restart.delay > 0;
	uint64_t next;

	MUST(!back_off || p->starts_in_back_off == 0 || on_trial <= 1, p);
	if (p->stopped || have >= p->want)
		return;
	unsigned n =
		policy_start(&p->restart, p->want - have, p->want, on_trial > 0, p->now, &next);
	MUST(n <= p->want - have, p);
	MUST(next > p->now, p);
	MUST(!back_off || n == 0 || (n == 1 && on_trial == 0 && p->now >= p->restart.retry_at), p);
	MUST(n > 0 || next != POLICY_NEVER || on_trial > 0, p);
	if (living + n > 2 * p->most)
		n = living < 2 * p->most ? 2 * p->most - living : 0;
	for (unsigned i = 0; i < n; i++)
		start(p);
	p->starts_in_back_off = back_off ? p->starts_in_back_off + n : 0;
}

static void follow_deadlines(struct paper_pool *p)
{
	for (unsigned s = 1; s <= SLOTS; s++) {
		struct process *w = &p->slots[s];

		if (w->pid == 0 || p->now < w->deadline)
			continue;
		if (w->state == LIFE_STARTING)
			feed(p, w, LIFE_EV_LATE);
		else if (w->state == LIFE_RETIRING || w->state == LIFE_EXPIRED)
			feed(p, w, LIFE_EV_OVERDUE);
	}
}

/* What the kernel does: whoever was killed is dead, whoever was told may go. */
static void processes_act(struct paper_pool *p)
{
	for (unsigned s = 1; s <= SLOTS; s++) {
		struct process *w = &p->slots[s];
		bool goes =
			w->killed || w->dead ||
			(w->told && w->manner != DEAF && dice(p, w->manner == SLOW ? 20 : 2) == 0);

		if (w->pid != 0 && goes)
			reap(p, w);
	}
}

static void reload(struct paper_pool *p)
{
	p->generation++;
	p->restart.delay = 0;
	for (unsigned s = 1; s <= SLOTS; s++)
		if (p->slots[s].pid != 0)
			feed(p, &p->slots[s], LIFE_EV_RETIRE);
}

/* The limit is made of the largest number that was wanted while its workers live. */
static void scale(struct paper_pool *p, unsigned want)
{
	p->want = want;
	for (unsigned s = SLOTS; s > 0 && count(p, true) > want; s--) {
		struct process *w = &p->slots[s];

		if (w->pid != 0 && (w->state == LIFE_UP || w->state == LIFE_STARTING))
			feed(p, w, LIFE_EV_RETIRE);
	}
}

static void stop(struct paper_pool *p, bool at_once)
{
	p->stopped = true;
	for (unsigned s = 1; s <= SLOTS; s++)
		if (p->slots[s].pid != 0)
			feed(p, &p->slots[s], at_once ? LIFE_EV_CUT : LIFE_EV_RETIRE);
}

static void random_event(struct paper_pool *p)
{
	struct process *w = &p->slots[1 + dice(p, SLOTS)];

	switch (dice(p, 64)) {
	case 0:
		if (!p->stopped)
			reload(p);
		return;
	case 1:
		if (!p->stopped)
			scale(p, 1 + dice(p, p->most));
		return;
	case 2:
		if (dice(p, 8) == 0)
			stop(p, dice(p, 2) == 0);
		return;
	default:
		break;
	}
	if (w->pid == 0)
		return;
	switch (dice(p, 8)) {
	case 0:
		w->dead = true; /* it died unasked */
		break;
	case 1:
		feed(p, w, LIFE_EV_EXPIRE);
		break;
	case 2:
	case 3:
		w->requests += w->was_ready;
		break;
	default:
		feed(p, w, LIFE_EV_READY);
		break;
	}
}

/* One turn of the master's loop. */
static void turn(struct paper_pool *p)
{
	unsigned before = p->next_pid;

	processes_act(p);
	follow_deadlines(p);
	fill(p);
	MUST(count(p, false) <= 2 * p->most, p);
	MUST(!p->stopped || p->next_pid == before, p);
	MUST(p->stopped || count(p, true) <= 2 * p->want, p);
}

static void play(uint64_t number)
{
	struct paper_pool p = { .random = number * 0x9e3779b97f4a7c15u + 1, .now = 100000 };

	seed = number;
	p.most = p.want = 1 + dice(&p, WORKERS_MAX);
	for (unsigned i = 0; i < LENGTH; i++) {
		static const unsigned steps[] = { 0, 1, 1, 5, 20, 150, 1500 };

		p.now += steps[dice(&p, sizeof(steps) / sizeof(steps[0]))];
		random_event(&p);
		turn(&p);
	}
	if (!p.stopped)
		stop(&p, false);
	for (uint64_t end = p.now + SECONDS_AFTER_STOP; p.now < end && count(&p, false) > 0;) {
		p.now += 100;
		turn(&p);
	}
	MUST(count(&p, false) == 0, &p);
	for (unsigned pid = 1; pid <= p.next_pid; pid++)
		MUST(p.reaped[pid / 32] & 1u << pid % 32, &p);
}

static void test_restarts(void **unused)
{
	(void)unused;
	for (uint64_t number = 1; number <= EVENTS / LENGTH; number++)
		play(number);
}

/* The number of workers that follows the load. A place for more of policy_want(): add what must
 * never be seen to must_be_sane(). */
static void must_be_sane(const struct paper_pool *p, const struct policy_limits *limits,
	unsigned before, unsigned want, uint64_t next)
{
	MUST(want >= limits->min && want <= limits->max, p);
	MUST(next > p->now, p);
	MUST(want >= before || before - want <= limits->max - limits->min, p);
}

static void follow_random_load(uint64_t number)
{
	struct paper_pool p = { .random = number * 0x9e3779b97f4a7c15u + 1, .now = 100000 };
	struct policy_demand demand = { 0 };
	unsigned least = dice(&p, 8);
	const struct policy_limits limits = { .min = least,
		.max = least + 1 + dice(&p, 50),
		.spare = dice(&p, 4),
		.idle_timeout = 10000 };
	unsigned have = limits.min;
	uint64_t next;

	seed = number;
	policy_settle(&demand, have, p.now);
	for (unsigned i = 0; i < LENGTH; i++) {
		unsigned busy = dice(&p, have + 1);
		const struct policy_load load = { .queue = dice(&p, 3) == 0 ? dice(&p, 100) : 0,
			.busy = busy,
			.idle = have - busy };

		p.now += dice(&p, 3) == 0 ? dice(&p, 5000) : dice(&p, 10);
		unsigned want = policy_want(&limits, &load, &demand, p.now, &next);
		must_be_sane(&p, &limits, have, want, next);
		have = want > busy ? want : busy; /* a busy one never goes */
	}
	/* Nobody comes any more: it ends at the least. */
	for (unsigned i = 0; i < 100; i++) {
		const struct policy_load none = { .idle = have };

		p.now += limits.idle_timeout / 2;
		have = policy_want(&limits, &none, &demand, p.now, &next);
	}
	MUST(have <= limits.min + limits.spare, &p);
}

static void test_load(void **unused)
{
	(void)unused;
	for (uint64_t number = 1; number <= EVENTS / LENGTH; number++)
		follow_random_load(number);
}

int main(int argc, char *argv[])
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_restarts),
		cmocka_unit_test(test_load),
	};

	if (argc > 1) {
		play(strtoull(argv[1], NULL, 10));
		follow_random_load(seed);
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
