/* How many workers there should be, with a clock and a load that the test owns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "master/policy.h"

static const struct policy_limits range = { .min = 0, .max = 64, .spare = 1, .idle_timeout = 1000 };

static unsigned want(struct policy_demand *d, struct policy_load load, uint64_t now)
{
	uint64_t next;
	unsigned n = policy_want(&range, &load, d, now, &next);

	assert_true(next > now);
	return n;
}

static void test_first_connection_starts_one_at_once(void **unused)
{
	struct policy_demand d;

	(void)unused;
	policy_settle(&d, 0, 100);
	assert_int_equal(want(&d, (struct policy_load){ .queue = 1 }, 100), 1);
	/* It is on its way: no other for the same connection. */
	assert_int_equal(want(&d, (struct policy_load){ .queue = 1, .starting = 1 }, 110), 1);
}

static void test_standing_queue_doubles(void **unused)
{
	static const unsigned steps[] = { 1, 3, 7, 15, 31, 50 };
	struct policy_demand d;
	uint64_t now = 100;

	(void)unused;
	policy_settle(&d, 0, now);
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++, now += POLICY_STANDING) {
		unsigned up = i == 0 ? 0 : steps[i - 1];
		struct policy_load load = { .queue = 50 - up, .busy = up };

		assert_int_equal(want(&d, load, now), steps[i]);
	}
}

static void test_short_queue_is_no_reason(void **unused)
{
	const struct policy_load waits = { .queue = 3, .busy = 4 };
	struct policy_demand d;
	const struct policy_limits all_busy = {
		.min = 4, .max = 8, .spare = 0, .idle_timeout = 1000
	};
	uint64_t next;

	(void)unused;
	policy_settle(&d, 4, 100);
	assert_int_equal(policy_want(&all_busy, &waits, &d, 100, &next), 4);
	assert_int_equal(next, 100 + POLICY_STANDING);
	assert_int_equal(policy_want(&all_busy, &waits, &d, next, &next), 5);
}

static void test_idle_workers_get_time_to_take_it(void **unused)
{
	const struct policy_load waits = { .queue = 1, .idle = 2, .busy = 1 };
	struct policy_demand d;

	(void)unused;
	policy_settle(&d, 3, 100);
	assert_int_equal(want(&d, waits, 100), 3);
	assert_int_equal(want(&d, waits, 150), 3);
	/* They cannot take it, for whatever reason. */
	assert_int_equal(want(&d, waits, 100 + POLICY_STANDING_LONG), 4);
}

static void test_spare_only_while_there_is_work(void **unused)
{
	struct policy_demand d;

	(void)unused;
	policy_settle(&d, 2, 100);
	assert_int_equal(want(&d, (struct policy_load){ .busy = 2 }, 100), 3);
	assert_int_equal(want(&d, (struct policy_load){ .busy = 2, .idle = 1 }, 200), 3);
	assert_int_equal(want(&d, (struct policy_load){ .idle = 3 }, 300), 3);
	assert_int_equal(want(&d, (struct policy_load){ .idle = 3 }, 1299), 3);
	assert_int_equal(want(&d, (struct policy_load){ .idle = 3 }, 1300), 0);
}

static void test_shrinks_to_the_worst_moment(void **unused)
{
	struct policy_demand d;

	(void)unused;
	policy_settle(&d, 20, 0);
	d.needed = 0;
	for (uint64_t now = 0; now < 1000; now += 50) {
		unsigned busy = now == 500 ? 6 : 2;

		assert_int_equal(
			want(&d, (struct policy_load){ .busy = busy, .idle = 20 - busy }, now), 20);
	}
	assert_int_equal(want(&d, (struct policy_load){ .busy = 2, .idle = 18 }, 1000), 7);
}

static void test_never_beyond_the_limits(void **unused)
{
	(void)unused;
	srand(7);
	for (int run = 0; run < 2000; run++) {
		unsigned min = (unsigned)rand() % 5, max = min + 1 + (unsigned)rand() % 20;
		const struct policy_limits limits = { .min = min,
			.max = max,
			.spare = 1 + (unsigned)rand() % 4,
			.idle_timeout = 100 + (uint64_t)(rand() % 1000) };
		struct policy_demand d;
		uint64_t now = 1, next;

		policy_settle(&d, min, now);
		for (int i = 0; i < 200; i++) {
			const struct policy_load load = { .queue = (unsigned)(rand() % 3 *
									      (rand() % 50)),
				.idle = (unsigned)rand() % 10,
				.busy = (unsigned)rand() % 20,
				.starting = (unsigned)rand() % 5 };
			unsigned n = policy_want(&limits, &load, &d, now, &next);

			assert_in_range(n, min, max);
			assert_true(next > now);
			/* Workers that are busy now are not too many. */
			assert_true(n >= (load.busy < max ? load.busy : max));
			now += (uint64_t)(rand() % 100);
		}
		for (int i = 0; i < 3; i++, now += limits.idle_timeout)
			d.want = policy_want(
				&limits, &(struct policy_load){ .idle = d.want }, &d, now, &next);
		assert_int_equal(d.want, min);
		assert_true(next == POLICY_NEVER);
	}
}

static void test_spread(void **unused)
{
	(void)unused;
	assert_int_equal(policy_spread(0, 12345), 0);
	assert_int_equal(policy_spread(1, 12345), 1);
	for (uint32_t r = 0; r < 1000; r++)
		assert_in_range(policy_spread(100, r), 90, 110);
	assert_int_equal(policy_spread(100, 0), 90);
	assert_int_equal(policy_spread(100, 20), 110);
}

static void test_one_in_ten(void **unused)
{
	(void)unused;
	assert_int_equal(policy_recycle_most(1), 1);
	assert_int_equal(policy_recycle_most(19), 1);
	assert_int_equal(policy_recycle_most(20), 2);
	assert_int_equal(policy_recycle_most(1000), 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_connection_starts_one_at_once),
		cmocka_unit_test(test_standing_queue_doubles),
		cmocka_unit_test(test_short_queue_is_no_reason),
		cmocka_unit_test(test_idle_workers_get_time_to_take_it),
		cmocka_unit_test(test_spare_only_while_there_is_work),
		cmocka_unit_test(test_shrinks_to_the_worst_moment),
		cmocka_unit_test(test_never_beyond_the_limits),
		cmocka_unit_test(test_spread),
		cmocka_unit_test(test_one_in_ten),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
