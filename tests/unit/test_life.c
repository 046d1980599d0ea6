/* The table of a worker's life: its paths, and that every way ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "master/life.h"

static enum life_action step(enum life_state *state, enum life_event event)
{
	struct life_step s = life_step(*state, event);

	*state = s.next;
	return s.action;
}

static void test_serves_and_retires(void **unused)
{
	enum life_state s = LIFE_STARTING;

	(void)unused;
	assert_int_equal(step(&s, LIFE_EV_READY), LIFE_DO_SERVE);
	assert_int_equal(step(&s, LIFE_EV_LATE), LIFE_DO_NONE);
	assert_int_equal(step(&s, LIFE_EV_RETIRE), LIFE_DO_STOP);
	assert_int_equal(step(&s, LIFE_EV_RETIRE), LIFE_DO_NONE);
	assert_int_equal(step(&s, LIFE_EV_DIED), LIFE_DO_BURY);
	assert_int_equal(s, LIFE_GONE);
}

static void test_crash_is_replaced(void **unused)
{
	enum life_state s = LIFE_UP;

	(void)unused;
	assert_int_equal(step(&s, LIFE_EV_DIED), LIFE_DO_REPLACE);
	s = LIFE_STARTING;
	assert_int_equal(step(&s, LIFE_EV_DIED), LIFE_DO_REPLACE);
}

static void test_late_is_killed_and_replaced(void **unused)
{
	enum life_state s = LIFE_STARTING;

	(void)unused;
	assert_int_equal(step(&s, LIFE_EV_LATE), LIFE_DO_KILL);
	assert_int_equal(step(&s, LIFE_EV_READY), LIFE_DO_NONE);
	assert_int_equal(step(&s, LIFE_EV_DIED), LIFE_DO_REPLACE);
}

static void test_expired_is_killed_if_it_stays(void **unused)
{
	enum life_state s = LIFE_UP;

	(void)unused;
	assert_int_equal(step(&s, LIFE_EV_EXPIRE), LIFE_DO_EXPIRE);
	assert_int_equal(step(&s, LIFE_EV_RETIRE), LIFE_DO_NONE);
	assert_int_equal(step(&s, LIFE_EV_OVERDUE), LIFE_DO_KILL);
	assert_int_equal(step(&s, LIFE_EV_DIED), LIFE_DO_BURY);
	s = LIFE_RETIRING;
	assert_int_equal(step(&s, LIFE_EV_EXPIRE), LIFE_DO_EXPIRE);
	assert_int_equal(step(&s, LIFE_EV_DIED), LIFE_DO_BURY);
}

static void test_late_then_unwanted_is_buried(void **unused)
{
	enum life_state s = LIFE_FAILING;

	(void)unused;
	assert_int_equal(step(&s, LIFE_EV_RETIRE), LIFE_DO_NONE);
	assert_int_equal(step(&s, LIFE_EV_DIED), LIFE_DO_BURY);
}

static void test_ladder(void **unused)
{
	enum life_state s = LIFE_RETIRING;

	(void)unused;
	assert_int_equal(step(&s, LIFE_EV_OVERDUE), LIFE_DO_KILL);
	assert_int_equal(step(&s, LIFE_EV_OVERDUE), LIFE_DO_NONE);
	assert_int_equal(step(&s, LIFE_EV_DIED), LIFE_DO_BURY);
}

/* Whatever happens before: STOP at most once, KILL at most once, one burial, nothing after it. */
static void test_random_walks(void **unused)
{
	(void)unused;
	srand(1);
	for (int walk = 0; walk < 200000; walk++) {
		enum life_state s = LIFE_STARTING;
		int count[LIFE_ACTION_COUNT] = { 0 };
		int length = rand() % 12;

		for (int i = 0; i < length; i++)
			count[step(&s, (enum life_event)(rand() % LIFE_EVENT_COUNT))]++;
		count[step(&s, LIFE_EV_DIED)]++;
		assert_int_equal(s, LIFE_GONE);
		assert_true(count[LIFE_DO_STOP] <= 1);
		assert_true(count[LIFE_DO_KILL] <= 1);
		assert_true(count[LIFE_DO_SERVE] <= 1);
		assert_int_equal(count[LIFE_DO_BURY] + count[LIFE_DO_REPLACE], 1);
		if (count[LIFE_DO_STOP] == 1)
			assert_int_equal(count[LIFE_DO_BURY], 1);
	}
}

static void test_names(void **unused)
{
	(void)unused;
	assert_string_equal(life_state_name(LIFE_STARTING), "starting");
	assert_string_equal(life_state_name(LIFE_GONE), "gone");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_serves_and_retires),
		cmocka_unit_test(test_crash_is_replaced),
		cmocka_unit_test(test_late_is_killed_and_replaced),
		cmocka_unit_test(test_expired_is_killed_if_it_stays),
		cmocka_unit_test(test_late_then_unwanted_is_buried),
		cmocka_unit_test(test_ladder),
		cmocka_unit_test(test_random_walks),
		cmocka_unit_test(test_names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
