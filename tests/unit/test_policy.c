/* The rules for restarts, with a clock that the test owns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "master/policy.h"

static void test_judge(void **unused)
{
	static const struct {
		struct policy_obituary o;
		enum policy_death death;
	} cases[] = {
		{ { .was_ready = false, .lived = 5 }, POLICY_FAILED_START },
		{ { .was_ready = false, .lived = 5, .by_signal = true }, POLICY_FAILED_START },
		{ { .was_ready = false, .by_signal = true, .by_sigkill = true }, POLICY_CRASH },
		{ { .was_ready = true, .lived = 999 }, POLICY_FAILED_START },
		{ { .was_ready = true, .lived = 1000 }, POLICY_CRASH },
		{ { .was_ready = true, .requests_known = true, .requests = 1 }, POLICY_CRASH },
		{ { .was_ready = true, .requests_known = true, .lived = 10 }, POLICY_FAILED_START },
		{ { .was_ready = true, .requests_known = true, .by_signal = true, .lived = 10 },
			POLICY_FAILED_START },
		{ { .was_ready = true, .by_signal = true, .lived = 10 }, POLICY_CRASH },
	};

	(void)unused;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(policy_judge(&cases[i].o), cases[i].death);
}

static void test_delay_doubles_to_the_limit(void **unused)
{
	static const uint64_t delays[] = { 100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000 };
	struct policy_restart r = { 0 };
	uint64_t now = 1000, next;

	(void)unused;
	for (size_t i = 0; i < sizeof(delays) / sizeof(delays[0]); i++) {
		bool say = policy_died(&r, POLICY_FAILED_START, 4, now, now + 1);

		now++;
		assert_int_equal(say, i < 7);
		assert_int_equal(r.delay, delays[i]);
		assert_int_equal(policy_start(&r, 4, 4, false, now, &next), 0);
		assert_int_equal(next, now + delays[i]);
		now = next;
		assert_int_equal(policy_start(&r, 4, 4, false, now, &next), 1);
		assert_int_equal(policy_start(&r, 3, 4, true, now, &next), 0);
		assert_int_equal(next, POLICY_NEVER);
	}
	policy_proven(&r);
	assert_int_equal(policy_start(&r, 3, 4, false, now, &next), 3);
}

static void test_a_batch_fails_once(void **unused)
{
	struct policy_restart r = { 0 };

	(void)unused;
	assert_true(policy_died(&r, POLICY_FAILED_START, 8, 50, 100));
	for (int i = 0; i < 7; i++)
		assert_false(policy_died(&r, POLICY_FAILED_START, 8, 50, 101));
	assert_int_equal(r.delay, POLICY_DELAY_MIN);
}

static void test_crashes_are_replaced_at_once(void **unused)
{
	struct policy_restart r = { 0 };
	uint64_t next;

	(void)unused;
	for (int i = 0; i < 64; i++)
		policy_died(&r, POLICY_CRASH, 64, 0, 5000);
	assert_int_equal(policy_start(&r, 64, 64, false, 5000, &next), 64);
}

/* A kill every 50 ms is 20 a second: the bucket must never delay that. */
static void test_steady_kills_are_not_delayed(void **unused)
{
	struct policy_restart r = { 0 };
	uint64_t next;

	(void)unused;
	for (uint64_t now = 10000; now < 110000; now += 50) {
		policy_died(&r, POLICY_CRASH, 4, now - 200, now);
		assert_int_equal(policy_start(&r, 1, 4, false, now, &next), 1);
	}
}

/* However fast they crash: bounded forks, and a pool of N is back within a second or so. */
static void test_crash_storm_is_bounded(void **unused)
{
	struct policy_restart r = { 0 };
	uint64_t next, started = 0;
	unsigned missing = 0;

	(void)unused;
	for (uint64_t now = 10000; now < 20000; now++) {
		while (missing < 4) { /* all four die as soon as they live */
			policy_died(&r, POLICY_CRASH, 4, now, now);
			missing++;
		}
		unsigned n = policy_start(&r, missing, 4, false, now, &next);
		started += n;
		missing -= n;
	}
	assert_true(started <= 10 * 20 + 2 * 20 + 4);
	assert_true(started >= 10 * 20 - 20);
	uint64_t now = 20000, waited = 0;
	while (missing > 0) {
		missing -= policy_start(&r, missing, 4, false, now, &next);
		if (missing > 0) {
			assert_true(next > now && next <= now + 50);
			waited += next - now;
			now = next;
		}
	}
	assert_true(waited <= 1000);
}

/* Never more than asked, never a wake-up in the past, always an end. */
static void test_random_sequences(void **unused)
{
	(void)unused;
	srand(2);
	for (int run = 0; run < 2000; run++) {
		struct policy_restart r = { 0 };
		uint64_t now = 1, next;

		for (int i = 0; i < 500; i++) {
			unsigned workers = 1 + (unsigned)rand() % 100;
			unsigned missing = (unsigned)rand() % (workers + 1);

			now += (uint64_t)(rand() % 300);
			if (rand() % 3 == 0)
				policy_died(&r, rand() % 2 ? POLICY_CRASH : POLICY_FAILED_START,
					workers,
					now - (uint64_t)(rand() % (int)(now < 900 ? now : 900)),
					now);
			if (rand() % 9 == 0)
				policy_proven(&r);
			unsigned n = policy_start(&r, missing, workers, rand() % 2, now, &next);
			assert_true(n <= missing);
			assert_true(next > now);
			assert_true(r.delay <= POLICY_DELAY_MAX);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_judge),
		cmocka_unit_test(test_delay_doubles_to_the_limit),
		cmocka_unit_test(test_a_batch_fails_once),
		cmocka_unit_test(test_crashes_are_replaced_at_once),
		cmocka_unit_test(test_steady_kills_are_not_delayed),
		cmocka_unit_test(test_crash_storm_is_bounded),
		cmocka_unit_test(test_random_sequences),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
