/* The record layer: what each record means, and that it never matters how the bytes are cut. */
#include "fcgi_trace.h"

static void test_request(void **unused)
{
	(void)unused;
	put_begin(1, 1, 0);
	put_record(FCGI_PARAMS, 1, "abc", 3, 5);
	put_record(FCGI_PARAMS, 1, "d", 1, 255);
	put_record(FCGI_PARAMS, 1, "", 0, 0);
	put_record(FCGI_STDIN, 1, "body", 4, 0);
	put_record(FCGI_STDIN, 1, "", 0, 8);
	expect("B1P(abcd)ES(body)F");
}

static void test_requests_follow_each_other(void **unused)
{
	(void)unused;
	for (unsigned id = 1; id <= 65535; id += 65534) {
		put_begin(id, 1, 1);
		put_record(FCGI_PARAMS, id, "", 0, 0);
		put_record(FCGI_DATA, id, "for filters", 11, 0);
		put_record(FCGI_STDIN, id, "", 0, 0);
	}
	expect("B1kEFB65535kEF");
}

static void test_other_ids_and_roles(void **unused)
{
	(void)unused;
	put_begin(3, 3, 1);
	put_record(FCGI_PARAMS, 3, "skipped", 7, 1);
	put_begin(4, 1, 0);
	put_begin(5, 1, 0);
	put_record(FCGI_PARAMS, 5, "skipped", 7, 1);
	put_record(FCGI_PARAMS, 4, "", 0, 0);
	put_record(FCGI_ABORT_REQUEST, 4, "", 0, 0);
	put_begin(6, 258, 0);
	expect("R01030003000800000000000003000000"   /* unknown role, kept */
	       "B4R01030005000800000000000001000000" /* no multiplexing */
	       "EAX01030006000800000000000003000000");
}

static void test_management(void **unused)
{
	static const char ask[] = "\x0e\x01"
				  "FCGI_MAX_CONNSx"
				  "\x80\x00\x00\x0f\x80\x00\x00\x00"
				  "FCGI_MPXS_CONNS"
				  "\x00\x00\x03\x00"
				  "abc"
				  "\x12\x00"
				  "FCGI_MAX_CONNSxxxx\x0d";

	(void)unused;
	put_record(FCGI_GET_VALUES, 0, ask, sizeof(ask) - 1, 3);
	put_record(FCGI_GET_VALUES, 0, "", 0, 0);
	put_record(77, 0, "whatever", 8, 2);
	put_record(FCGI_BEGIN_REQUEST, 0, "", 0, 0);
	expect("R010a00000026000"
	       "00e04464347495f4d41585f434f4e4e5331303234"
	       "0f01464347495f4d5058535f434f4e4e5330"
	       "R010a000000000000"
	       "R010b0000000800004d00000000000000"
	       "R010b0000000800000100000000000000");
}

static void test_repeated_values(void **unused)
{
	struct fcgi f = { .max_reqs = 4294967295u, .max_conns = 4294967295u, .roles = 1 };
	char got[TEXT] = "";

	(void)unused;
	uint8_t *many = malloc(65535);
	assert_non_null(many);
	for (size_t i = 0; i + 15 <= 65535; i += 15)
		memcpy(many + i, "\x0d\0FCGI_MAX_REQS", 15);
	put_record(FCGI_GET_VALUES, 0, many, 65535, 255);
	assert_true(feed(&f, input.at, input.length, got));
	assert_string_equal(got, "R010a000000190000"
				 "0d0a464347495f4d41585f5245515334323934393637323935");
	free(many);
	input.length = 0;
}

static void test_broken(void **unused)
{
	(void)unused;
	put("\x02\x01\x00\x01\x00\x08\x00\x00", 8);
	expect("!");
	put_record(FCGI_BEGIN_REQUEST, 1, "short", 5, 0);
	expect("!");
	put_record(FCGI_BEGIN_REQUEST, 1, "", 0, 0);
	expect("!");
	put_begin(1, 1, 0);
	put_begin(1, 1, 0);
	expect("B1!");
	put_begin(1, 1, 0);
	put_record(FCGI_STDIN, 1, "early", 5, 0);
	expect("B1!");
	put_begin(1, 1, 0);
	put_record(FCGI_PARAMS, 1, "", 0, 0);
	put_record(FCGI_PARAMS, 1, "late", 4, 0);
	expect("B1E!");
	put_begin(1, 1, 0);
	put_record(FCGI_STDOUT, 1, "", 0, 0);
	expect("B1!");
}

static void test_records_of_nobody_are_skipped(void **unused)
{
	(void)unused;
	put_record(FCGI_STDIN, 9, "x", 1, 7);
	put_record(FCGI_ABORT_REQUEST, 9, "", 0, 0);
	put_begin(1, 1, 0);
	put_record(FCGI_STDIN, 9, "x", 1, 0);
	expect("B1");
}

/* The rest of a body that nobody wanted, and the next request. */
static void test_forgotten_body(void **unused)
{
	struct fcgi f = { .roles = 1 };
	char got[TEXT] = "";
	struct fcgi_event event;

	(void)unused;
	put_begin(1, 1, 1);
	put_record(FCGI_PARAMS, 1, "", 0, 0);
	put_record(FCGI_STDIN, 1, "unwanted", 8, 8);
	put_record(FCGI_STDIN, 1, "", 0, 0);
	put_begin(1, 1, 1);
	for (size_t at = 0; at < input.length;) {
		size_t n = at < 46 ? 1 : input.length - at; /* into the content */

		at += fcgi_next(&f, input.at + at, n, &event);
		if (event.kind != FCGI_MORE)
			note(got, &f, &event);
		if (event.kind == FCGI_BODY_SOME)
			fcgi_forget(&f);
		assert_true(event.kind != FCGI_BODY_SOME || !fcgi_is_fresh(&f));
	}
	assert_string_equal(got, "B1kES(u)B1k");
	input.length = 0;
}

static void test_fresh_and_read(void **unused)
{
	struct fcgi f = { .roles = 1 };
	char got[TEXT] = "";

	(void)unused;
	put_begin(1, 1, 0);
	assert_true(fcgi_is_fresh(&f));
	feed(&f, input.at, 1, got);
	assert_false(fcgi_is_fresh(&f));
	feed(&f, input.at + 1, input.length - 1, got);
	assert_false(fcgi_is_fresh(&f) || fcgi_is_read(&f));
	input.length = 0;
	put_record(FCGI_PARAMS, 1, "", 0, 0);
	put_record(FCGI_STDIN, 1, "", 0, 0);
	struct fcgi_event event;
	size_t at = fcgi_next(&f, input.at, input.length, &event);
	at += fcgi_next(&f, input.at + at, input.length - at, &event);
	assert_int_equal(event.kind, FCGI_BODY_END);
	assert_true(fcgi_is_read(&f) && at == input.length);
	fcgi_forget(&f);
	assert_true(fcgi_is_fresh(&f));
	input.length = 0;
}

/* Of each record, at each of its bytes. */
static void test_rest(void **unused)
{
	struct fcgi f = { .roles = 1 };
	struct fcgi_event event;

	(void)unused;
	put_begin(1, 1, 0);
	put_record(FCGI_PARAMS, 1, "", 0, 0);
	put_record(FCGI_STDIN, 1, "body", 4, 3);
	put_record(FCGI_STDIN, 1, "", 0, 255);
	const size_t sizes[] = { 16, 8, 15, 263 };
	size_t at = 0;
	for (size_t i = 0; i < 4; at += sizes[i++])
		for (size_t n = 0; n < sizes[i]; n++) {
			size_t all = n == 0 ? 0 : n < 8 ? 8 : sizes[i];

			assert_int_equal(fcgi_rest(&f), all > 0 ? all - n : 0);
			fcgi_next(&f, input.at + at + n, 1, &event);
		}
	assert_int_equal(fcgi_rest(&f), 0);
	assert_true(fcgi_is_read(&f) && at == input.length);
	input.length = 0;
}

/* From memory of its own, with room for a NUL more. */
static void expect_pairs(const char *bytes, size_t length, const char *joined)
{
	uint8_t *copy = malloc(length + 1);
	char **list = calloc(fcgi_most_pairs(length) + 1, sizeof(*list)), got[TEXT] = "";

	assert_non_null(copy);
	assert_non_null(list);
	memcpy(copy, bytes, length);
	int count = fcgi_split_pairs(copy, length, list);
	for (int i = 0; i < count; i++)
		snprintf(got + strlen(got), TEXT - strlen(got), "%s;", list[i]);
	if (joined == NULL)
		assert_int_equal(count, -1);
	else
		assert_string_equal(got, joined);
	free(list);
	free(copy);
}

#define PAIRS(bytes, joined) expect_pairs(bytes, sizeof(bytes) - 1, joined)

static void test_pairs(void **unused)
{
	(void)unused;
	PAIRS("", "");
	PAIRS("\0\0", "=;");
	PAIRS("\1\2abc\3\0xyz\0\1v", "a=bc;xyz=;=v;");
	PAIRS("\x80\0\0\1\x80\0\0\2abc\1\1de", "a=bc;d=e;");
	PAIRS("\1\1ab\0\x80\0\0\1v\x80\0\0\1\0n\0\0", "a=b;=v;n=;=;");
	PAIRS("\1", NULL);
	PAIRS("\1\2ab", NULL);
	PAIRS("\x80\0\0", NULL);
	PAIRS("\1\x80\0\0", NULL);
	PAIRS("\xff\xff\xff\xff\xff\xff\xff\xff", NULL);
	PAIRS("\1\xff\xff\xff\xff"
	      "a",
		NULL);
	PAIRS("\1\1ab\1", NULL);
}

/* With all bytes of a length: 0x102 of a name and as many of a value. */
static void test_long_pairs(void **unused)
{
	char pairs[8 + 2 * 0x102 + 4] = "\x80\0\1\2\x80\0\1\2", joined[2 * 0x102 + 7];

	(void)unused;
	memset(pairs + 8, 'n', 0x102);
	memset(pairs + 8 + 0x102, 'v', 0x102);
	memcpy(pairs + 8 + 2 * 0x102, "\1\1ab", 4);
	snprintf(joined, sizeof(joined), "%.258s=%.258s;a=b;", pairs + 8, pairs + 8 + 0x102);
	expect_pairs(pairs, sizeof(pairs), joined);
	expect_pairs(pairs, sizeof(pairs) - 1, NULL);
}

static void test_end(void **unused)
{
	uint8_t out[FCGI_END_SIZE];

	(void)unused;
	fcgi_put_end(out, 0x1234, 0x89abcdef, FCGI_OVERLOADED);
	assert_memory_equal(out, "\1\3\x12\x34\0\x8\0\0\x89\xab\xcd\xef\2\0\0\0", sizeof(out));
	fcgi_put_header(out, FCGI_STDOUT, 0xffff, FCGI_CONTENT_MAX);
	assert_memory_equal(out, "\1\6\xff\xff\xff\xff\0\0", FCGI_HEADER);
}

static void test_answer(void **unused)
{
	uint8_t out[3 + FCGI_ANSWER_MORE];

	(void)unused;
	assert_int_equal(fcgi_put_answer(out, 258, "abc", 3, 75), sizeof(out));
	assert_memory_equal(out,
		"\1\6\1\2\0\3\0\0abc"
		"\1\6\1\2\0\0\0\0"
		"\1\3\1\2\0\x8\0\0\0\0\0\x4b\0\0\0\0",
		sizeof(out));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_request),
		cmocka_unit_test(test_requests_follow_each_other),
		cmocka_unit_test(test_other_ids_and_roles),
		cmocka_unit_test(test_management),
		cmocka_unit_test(test_repeated_values),
		cmocka_unit_test(test_broken),
		cmocka_unit_test(test_records_of_nobody_are_skipped),
		cmocka_unit_test(test_forgotten_body),
		cmocka_unit_test(test_fresh_and_read),
		cmocka_unit_test(test_rest),
		cmocka_unit_test(test_pairs),
		cmocka_unit_test(test_long_pairs),
		cmocka_unit_test(test_end),
		cmocka_unit_test(test_answer),
	};

	return cmocka_run_group_tests(tests, make_room, free_room);
}
