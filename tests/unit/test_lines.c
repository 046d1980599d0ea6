/* Lines out of a pipe: where they end, where they are cut, and that it never matters how they come.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "master/lines.h"

#define TEXT 8000

static char input[TEXT], got[TEXT];
static size_t input_length;

static void put(const char *bytes, size_t length)
{
	assert_true(input_length + length <= sizeof(input));
	memcpy(input + input_length, bytes, length);
	input_length += length;
}

static void put_text(const char *text)
{
	put(text, strlen(text));
}

static void put_many(char byte, size_t count)
{
	while (count-- > 0)
		put(&byte, 1);
}

/* "<" and ">" around each line. */
static void note(const struct lines_line *line)
{
	size_t n = strlen(got);

	assert_true(n + line->length + 3 <= sizeof(got));
	got[n++] = '<';
	memcpy(got + n, line->bytes, line->length);
	memcpy(got + n + line->length, ">", 2);
}

static void feed(struct lines *lines, const char *bytes, size_t length)
{
	struct lines_line line;

	for (size_t at = 0; at < length;) {
		at += lines_next(lines, bytes + at, length - at, &line);
		if (line.bytes != NULL)
			note(&line);
	}
}

/* In pieces of each size. What has not ended must be what an upgrade would carry over. */
static void expect(const char *lines, const char *last)
{
	for (size_t piece = 1; piece <= input_length; piece++) {
		struct lines l = { .used = 0 }, next = { .used = 0 };

		got[0] = '\0';
		for (size_t at = 0; at < input_length; at += piece)
			feed(&l, input + at,
				at + piece <= input_length ? piece : input_length - at);
		assert_string_equal(got, lines);
		struct lines_line rest = lines_rest(&l);
		feed(&next, rest.bytes, rest.length);
		assert_string_equal(got, lines);
		struct lines_line end = lines_last(&next);
		got[0] = '\0';
		if (end.bytes != NULL)
			note(&end);
		assert_string_equal(got, last);
	}
	input_length = 0;
}

static void test_ends(void **unused)
{
	(void)unused;
	put_text("one\ntwo\r\n\n\r\n\r\r\na\rb\nrest");
	expect("<one><two><><><\r><a\rb>", "<rest>");
	put_text("one\n");
	expect("<one>", "");
	put_text("one\ntwo\r");
	expect("<one>", "<two>");
	put("a\0b\n", 4);
	expect("<a", "");
}

/* So many bytes, in angle brackets. */
static const char *brackets(char *out, char byte, size_t count, const char *more)
{
	out[0] = '<';
	memset(out + 1, byte, count);
	snprintf(out + 1 + count, TEXT - 1 - count, ">%s", more);
	return out;
}

static void test_long(void **unused)
{
	static char expected[TEXT];

	(void)unused;
	put_many('x', LINES_LONGEST);
	put_text("\nb\n");
	expect(brackets(expected, 'x', LINES_LONGEST, "<b>"), "");
	put_many('x', LINES_LONGEST);
	put_text("yy\n");
	expect(brackets(expected, 'x', LINES_LONGEST, "<yy>"), "");
	put_many('x', LINES_LONGEST);
	expect("", brackets(expected, 'x', LINES_LONGEST, ""));
}

/* The end of the longest line may be two bytes; a return that ends nothing is not lost. */
static void test_long_with_return(void **unused)
{
	static char expected[TEXT];

	(void)unused;
	put_many('x', LINES_LONGEST);
	put_text("\r\nb\n");
	expect(brackets(expected, 'x', LINES_LONGEST, "<b>"), "");
	put_many('x', LINES_LONGEST);
	put_text("\ry\n");
	expect(brackets(expected, 'x', LINES_LONGEST, "<\ry>"), "");
	put_many('\r', LINES_LONGEST);
	put_text("\r\r\n");
	expect(brackets(expected, '\r', LINES_LONGEST, "<\r>"), "");
	put_many('x', LINES_LONGEST);
	put_text("\r");
	expect("", brackets(expected, 'x', LINES_LONGEST, ""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ends),
		cmocka_unit_test(test_long),
		cmocka_unit_test(test_long_with_return),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
