/* Sums over the lives of workers: what a hostile one says of itself does not make them go back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/board.h"
#include "master/tally.h"

static void test_sums_never_go_back(void **unused)
{
	struct board_figures sum = { 0 }, most = { .requests = BOARD_MOST,
		.bytes_in = BOARD_MOST,
		.bytes_out = BOARD_MOST,
		.total_us = BOARD_MOST };
	uint64_t together = 0;

	(void)unused;
	for (size_t i = 0; i < BOARD_BUCKETS; i++)
		most.buckets[i] = BOARD_MOST;
	for (unsigned lives = 0; lives < 5000; lives++) {
		struct board_figures before = sum;

		tally_add(&sum, &most);
		assert_true(sum.requests >= before.requests && sum.bytes_in >= before.bytes_in &&
			    sum.bytes_out >= before.bytes_out && sum.total_us >= before.total_us);
	}
	for (size_t i = 0; i < BOARD_BUCKETS; i++) {
		assert_true(together + sum.buckets[i] >= together);
		together += sum.buckets[i];
	}
	/* JSON has signed numbers. */
	assert_true(together <= INT64_MAX && sum.bytes_out <= INT64_MAX && together > BOARD_MOST);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_sums_never_go_back) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
