/* text: what comes out is valid UTF-8, and what was is not changed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above */
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "gate/text.h"

#define R "\xef\xbf\xbd" /* U+FFFD */

static const struct {
	const char *in, *out;
} cases[] = {
	{ "", "" },
	{ "plain <b> \"\\ \n\t\x7f", "plain <b> \"\\ \n\t\x7f" },
	{ "\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80" },
	{ "\xef\xbf\xbf\xf4\x8f\xbf\xbf", "\xef\xbf\xbf\xf4\x8f\xbf\xbf" }, /* the last ones */
	{ "a\xff"
	  "b\xfe",
		"a" R "b" R },
	{ "\x80\xbf", R R },             /* no character begins so */
	{ "\xc0\xaf\xc1\xbf", R R R R }, /* longer than they need to be */
	{ "\xe0\x9f\xbf\xf0\x8f\xbf\xbf", R R R R R R R },
	{ "\xed\xa0\x80", R R R },             /* a surrogate */
	{ "\xf4\x90\x80\x80\xf5", R R R R R }, /* beyond the last */
	{ "\xe2\x82", R R },                   /* cut */
	{ "\xe2\x82x\xf0\x9f\x98", R R "x" R R R },
};

static void test_cases(void **unused)
{
	char out[64];

	(void)unused;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_string_equal(text_utf8(cases[i].in, out, sizeof(out)), cases[i].out);
}

static void test_cuts_between_characters(void **unused)
{
	char out[8];

	(void)unused;
	assert_string_equal(text_utf8("abcdefghi", out, sizeof(out)), "abcdefg");
	assert_string_equal(text_utf8("abcde\xe2\x82\xac", out, sizeof(out)), "abcde");
	assert_string_equal(text_utf8("abcd\xe2\x82\xac", out, sizeof(out)), "abcd\xe2\x82\xac");
	assert_string_equal(text_utf8("abcde\xff", out, sizeof(out)), "abcde");
	assert_string_equal(text_utf8("a", out, 1), "");
}

/* Whatever it is made of, what comes out stays as it is. */
static void test_twice_is_once(void **unused)
{
	char in[32], once[3 * sizeof(in)], twice[3 * sizeof(in)];

	(void)unused;
	srandom(11);
	for (int round = 0; round < 20000; round++) {
		for (size_t i = 0; i < sizeof(in) - 1; i++)
			in[i] = (char)((random() & 3) != 0 ? 0x80 | random() : random());
		in[random() % (long)sizeof(in)] = in[sizeof(in) - 1] = '\0';
		text_utf8(in, once, sizeof(once));
		assert_string_equal(text_utf8(once, twice, sizeof(twice)), once);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_cuts_between_characters),
		cmocka_unit_test(test_twice_is_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
