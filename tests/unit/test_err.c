/* Sentences that fit, and the exit code of a list of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <sysexits.h>

#include "common/err.h"

static void test_set(void **unused)
{
	struct err err;

	(void)unused;
	assert_int_equal(err_set(&err, EX_OSERR, "%s %d", "a", 1), -1);
	assert_int_equal(err.code, EX_OSERR);
	assert_string_equal(err.text, "a 1");
	assert_int_equal(err_set(&err, EX_OSERR, "%1000s", "x"), -1);
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
	assert_int_equal(err_set(NULL, EX_OSERR, "a"), -1);
}

static void test_list(void **unused)
{
	struct err_list list = { 0 };

	(void)unused;
	assert_int_equal(err_list_code(&list), 0);
	err_list_add(&list, EX_NOPERM, "first");
	err_list_add(&list, EX_OSERR, "second");
	assert_int_equal(err_list_code(&list), EX_NOPERM);
	err_list_add(&list, EX_CONFIG, "third %s", "one");
	assert_int_equal(err_list_code(&list), EX_CONFIG);
	assert_int_equal(list.count, 3);
	assert_string_equal(list.items[0].text, "first");
	assert_string_equal(list.items[2].text, "third one");
	err_list_free(&list);
	assert_int_equal(list.count, 0);
	assert_null(list.items);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_set),
		cmocka_unit_test(test_list),
	};

	return cmocka_run_group_tests_name("err", tests, NULL, NULL);
}
