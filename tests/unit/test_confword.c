/* Quoting and its way back, comments, and the guess at what was meant. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "common/confkey.h"
#include "common/confword.h"
#include "common/err.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void test_split(void **unused)
{
	static const struct {
		const char *value, *words[6];
	} rows[] = {
		{ "", { NULL } },
		{ " \t ", { NULL } },
		{ "; only a comment", { NULL } },
		{ ";", { NULL } },
		{ "a", { "a" } },
		{ " a  b\tc ", { "a", "b", "c" } },
		{ "a ; comment", { "a" } },
		{ "a\t;comment 'open", { "a" } },
		{ "a;b", { "a;b" } },
		{ "a; b", { "a;", "b" } },
		{ "a \\; b", { "a", ";", "b" } },
		{ "a\\ ;b", { "a ;b" } },
		{ "'a ; b' c", { "a ; b", "c" } },
		{ "\"a ; b\" c", { "a ; b", "c" } },
		{ "'a'b\"c\"", { "abc" } },
		{ "a'b c'd", { "ab cd" } },
		{ "''", { "" } },
		{ "\"\" '' x", { "", "", "x" } },
		{ "'a\\b'", { "a\\b" } },
		{ "'a\"b'", { "a\"b" } },
		{ "\"a'b\"", { "a'b" } },
		{ "\"a\\\"b\\\\c\\$d\\`e\"", { "a\"b\\c$d`e" } },
		{ "\"a\\nb\\'c\"", { "a\\nb\\'c" } },
		{ "a\\nb\\\\c\\'d", { "anb\\c'd" } },
		{ "$HOME `id` $(id) *.c ~ {a,b}",
			{ "$HOME", "`id`", "$(id)", "*.c", "~", "{a,b}" } },
		{ "# x", { "#", "x" } },
		{ "a=b -d x=y", { "a=b", "-d", "x=y" } },
		{ "\xc3\xa4\xc2\xa0\xc3\xb6", { "\xc3\xa4\xc2\xa0\xc3\xb6" } },
	};

	(void)unused;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct err err;
		char **words = confword_split(rows[i].value, &err);
		size_t n = 0;

		if (words == NULL)
			fail_msg("%s was refused: %s", rows[i].value, err.text);
		while (n < COUNT(rows[i].words) && rows[i].words[n] != NULL) {
			if (words[n] == NULL)
				fail_msg("%s: word %zu is missing", rows[i].value, n);
			assert_string_equal(words[n], rows[i].words[n]);
			n++;
		}
		assert_null(words[n]);
		confword_free(words);
	}
}

static void test_bad_quoting(void **unused)
{
	static const struct {
		const char *value, *why;
	} rows[] = {
		{ "'a", "a quote (') is not closed" },
		{ "a 'b\\'", NULL }, /* no escape in single quotes: closed */
		{ "\"a", "a quote (\") is not closed" },
		{ "\"a\\\"", "a quote (\") is not closed" },
		{ "\"a\\", "a quote (\") is not closed" },
		{ "a '", "a quote (') is not closed" },
		{ "a ; 'b", NULL },
		{ "a\\", "the value ends with a backslash" },
		{ "\\", "the value ends with a backslash" },
	};

	(void)unused;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct err err = { 0 };
		char **words = confword_split(rows[i].value, &err);

		if (rows[i].why == NULL) {
			assert_non_null(words);
			confword_free(words);
			continue;
		}
		if (words != NULL)
			fail_msg("%s was accepted", rows[i].value);
		assert_string_equal(err.text, rows[i].why);
		assert_int_equal(err.code, EX_CONFIG);
	}
}

static void test_one(void **unused)
{
	static const struct {
		const char *value, *text, *why;
	} rows[] = {
		{ "", "", NULL },
		{ "; none", "", NULL },
		{ "a b", "a b", NULL },
		{ "it's fine ; comment", "it's fine", NULL },
		{ "a;b", "a;b", NULL },
		{ "C:\\dir \"x\"", "C:\\dir \"x\"", NULL },
		{ "'a ; b' ; comment", "a ; b", NULL },
		{ "\" a \"", " a ", NULL },
		{ "''", "", NULL },
		{ "'it'\\''s'", "it's", NULL },
		{ "'a' b", NULL, "text follows the closing quote: quote all of the value" },
		{ "'a", NULL, "a quote (') is not closed" },
	};

	(void)unused;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct err err = { 0 };
		char *text = confword_one(rows[i].value, &err);

		if (rows[i].why != NULL) {
			assert_null(text);
			assert_string_equal(err.text, rows[i].why);
			continue;
		}
		assert_non_null(text);
		assert_string_equal(text, rows[i].text);
		free(text);
	}
}

static char *printed(const char *word)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	confword_print(word, out);
	fclose(out);
	return text;
}

static void test_print(void **unused)
{
	static const struct {
		const char *word, *text;
	} rows[] = {
		{ "/usr/bin/php-cgi", "/usr/bin/php-cgi" },
		{ "", "''" },
		{ "a b", "'a b'" },
		{ "a;b", "'a;b'" },
		{ "a\\b", "'a\\b'" },
		{ "a\"b", "'a\"b'" },
		{ "it's", "\"it's\"" },
		{ "'\"\\$`", "\"'\\\"\\\\\\$\\`\"" },
	};

	(void)unused;
	for (size_t i = 0; i < COUNT(rows); i++) {
		char *text = printed(rows[i].word);

		assert_string_equal(text, rows[i].text);
		free(text);
	}
}

/* Whatever the word, both readers give it back: tried with words of the worst letters. */
static void test_print_and_read(void **unused)
{
	static const char letters[] = "a;'\"\\ \t$`#=\r\v\xc3";
	uint32_t random = 1;

	(void)unused;
	for (int i = 0; i < 20000; i++) {
		char word[9], *text, *one;
		size_t length = (random >> 8) % sizeof(word);

		for (size_t n = 0; n < length; n++) {
			random = random * 1664525 + 1013904223;
			word[n] = letters[(random >> 8) % (sizeof(letters) - 1)];
		}
		word[length] = '\0';
		random = random * 1664525 + 1013904223;
		text = printed(word);
		one = confword_one(text, NULL);
		assert_non_null(one);
		assert_string_equal(one, word);
		char **words = confword_split(text, NULL);
		assert_non_null(words);
		assert_non_null(words[0]);
		assert_string_equal(words[0], word);
		assert_null(words[1]);
		confword_free(words);
		free(one);
		free(text);
	}
}

static void test_distance(void **unused)
{
	static const struct {
		const char *a, *b;
		unsigned distance;
	} rows[] = {
		{ "", "", 0 },
		{ "workers", "workers", 0 },
		{ "Workers", "WORKERS", 0 },
		{ "wokers", "workers", 1 },
		{ "workerss", "workers", 1 },
		{ "wirkers", "workers", 1 },
		{ "wrokers", "workers", 1 },
		{ "abc", "", 3 },
		{ "", "abc", 3 },
		{ "kitten", "sitting", 3 },
	};
	char word[64];

	(void)unused;
	for (size_t i = 0; i < COUNT(rows); i++)
		assert_int_equal(confword_distance(rows[i].a, rows[i].b), rows[i].distance);
	memset(word, 'a', sizeof(word));
	word[48] = '\0';
	assert_int_equal(confword_distance(word, word), 0);
	word[48] = 'a';
	word[49] = '\0';
	assert_true(confword_distance(word, word) > CONFWORD_FAR);
}

static void test_near(void **unused)
{
	static const struct {
		enum confkey_section section;
		const char *word, *meant;
	} rows[] = {
		{ CONFKEY_POOL, "wokers", "workers" },
		{ CONFKEY_POOL, "LISTEN", "listen" },
		{ CONFKEY_POOL, "start_timeout", "start-timeout" },
		{ CONFKEY_POOL, "stop timeout", "stop-timeout" },
		{ CONFKEY_POOL, "usr", "user" },
		{ CONFKEY_POOL, "grup", "group" },
		{ CONFKEY_POOL, "limit-nofiles", "limit-nofile" },
		{ CONFKEY_POOL, "pm.max_children", NULL },
		{ CONFKEY_POOL, "x", NULL },
		{ CONFKEY_MAIN, "pidfile", "pid-file" },
		{ CONFKEY_MAIN, "includes", "include" },
		{ CONFKEY_MAIN, "loglevel", "log-level" },
		{ CONFKEY_MAIN, "workers", NULL },
	};

	(void)unused;
	for (size_t i = 0; i < COUNT(rows); i++) {
		const char *near = confkey_near(rows[i].section, rows[i].word);

		if (rows[i].meant == NULL) {
			if (near != NULL)
				fail_msg("%s was taken for %s", rows[i].word, near);
			continue;
		}
		if (near == NULL)
			fail_msg("%s was not understood", rows[i].word);
		assert_string_equal(near, rows[i].meant);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_split),
		cmocka_unit_test(test_bad_quoting),
		cmocka_unit_test(test_one),
		cmocka_unit_test(test_print),
		cmocka_unit_test(test_print_and_read),
		cmocka_unit_test(test_distance),
		cmocka_unit_test(test_near),
	};

	return cmocka_run_group_tests_name("confword", tests, NULL, NULL);
}
