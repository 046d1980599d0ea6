/* Foreign bytes in the log: one printable line, of which it is clear what it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "common/log.h"

static void check(const char *bytes, size_t length, const char *expected)
{
	char out[256];

	assert_ptr_equal(log_escape(bytes, length, out, sizeof(out)), out);
	assert_string_equal(out, expected);
}

static void test_escape(void **unused)
{
	(void)unused;
	check("", 0, "");
	check("plain ~ text\twith a tab", 23, "plain ~ text\twith a tab");
	check("a\nb\r\\", 5, "a\\nb\\r\\\\");
	check("\x1b[31m\x7f\xff", 7, "\\033[31m\\177\\377");
	check("\xc3\xa4", 2, "\\303\\244");
}

/* A digit behind a NUL must not be taken for a part of it. */
static void test_digit_behind_nul(void **unused)
{
	(void)unused;
	check("a\0b\0", 4, "a\\0b\\0");
	check("\0002\0", 3, "\\0002\\0");
	check("\0009", 2, "\\09");
}

/* Cut between two characters, and always terminated. */
static void test_cut(void **unused)
{
	char out[16];

	(void)unused;
	for (size_t size = 1; size <= sizeof(out); size++) {
		memset(out, 'x', sizeof(out));
		log_escape("\xff\xff\xff\xff\xff", 5, out, size);
		size_t length = strlen(out);
		assert_true(length < size && length % 4 == 0);
		assert_memory_equal(out, "\\377\\377\\377\\377", length);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_escape),
		cmocka_unit_test(test_digit_behind_nul),
		cmocka_unit_test(test_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
