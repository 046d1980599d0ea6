/* The access log's pure parts: formats, lines, and what an answer says of itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/err.h"
#include "common/logformat.h"
#include "worker/answer.h"
#include "worker/logline.h"

#define P(text) ((char[]){ text })

static char *params[] = { P("REQUEST_METHOD=GET"), P("SCRIPT_NAME=/a"), P("PATH_INFO=/b"),
	P("QUERY_STRING=x=1"), P("REQUEST_URI=/a/b?x=1"), P("SERVER_PROTOCOL=HTTP/1.1"),
	P("REMOTE_ADDR=192.0.2.1"), P("REMOTE_USER="), P("SERVER_NAME=server"), P("HTTP_REFERER=r"),
	P("HOSTILE"), P("EMPTY="), NULL };
static char *only_uri[] = { P("REQUEST_URI=/x?y"), NULL };
static char *no_uri[] = { P("SCRIPT_NAME=/s"), P("QUERY_STRING=q"), NULL };
static char *nothing[] = { NULL };
static char *foreign[] = { P("A=\"\\\n\r\t\x01\x7f<&'"),
	P("B=b\xc3\xa4r\xe2\x82\xac\xf0\x9f\x98\x80"),
	P("C=\xff\xc3(\xed\xa0\x80\xf4\x90\x80\x80\xc0\x80\xe2\x82"), NULL };
static char long_value[70000] = "A=", long_address[5000] = "REMOTE_ADDR=";
static char *too_long[] = { long_value, long_address, P("REQUEST_METHOD=GET"), NULL };

static const struct logline plain = {
	.params = params,
	.pool = "www",
	.pid = 4711,
	.status = 404,
	.bytes_in = 12,
	.bytes = 3456,
	.us = 1234567,
	.began_ms = 1791030896789, /* 2026-10-03 12:34:56.789 UTC */
	.offset = 7200,
};

/* From memory of its own, so that the sanitizer sees a byte too many. */
static void expect_facts(const char *text, const struct logline *facts, const char *wanted)
{
	struct err err = { 0 };
	struct logformat *format = logformat_compile(text, &err);

	if (format == NULL)
		fail_msg("%s: %s", text, err.text);
	size_t room = logline_room(format);
	char *out = malloc(room);
	assert_non_null(out);
	size_t n = logline_write(format, facts, out);
	assert_true(n > 0 && n <= room && out[n - 1] == '\n');
	out[n - 1] = '\0';
	assert_string_equal(out, wanted);
	free(out);
	logformat_free(format);
}

static void expect(const char *text, const char *wanted)
{
	expect_facts(text, &plain, wanted);
}

static void test_fields(void **unused)
{
	(void)unused;
	expect("%{method} %{path} %{query} %{uri} %{protocol}", "GET /a/b x=1 /a/b?x=1 HTTP/1.1");
	expect("%{status} %{bytes} %{bytes_in} %{time_us} %{time_s}",
		"404 3456 12 1234567 1.234567");
	expect("%{pool} %{pid} %{remote_addr} %{remote_user}", "www 4711 192.0.2.1 -");
	expect("%{host} %{referer} %{user_agent} %{request_id}", "server r - -");
	expect("%{time_iso} %{time_clf}",
		"2026-10-03T14:34:56.789+02:00 03/Oct/2026:14:34:56 +0200");
	expect("%{param:SERVER_NAME}%{param:EMPTY}%{param:NONE}%{param:HOSTILE}", "server---");
	expect("100%% %%{pid} %{pid}%%", "100% %{pid} 4711%");
}

static void test_ready_made(void **unused)
{
	(void)unused;
	expect("common", "192.0.2.1 - - [03/Oct/2026:14:34:56 +0200] \"GET /a/b?x=1 HTTP/1.1\" 404 "
			 "3456");
	expect("combined", "192.0.2.1 - - [03/Oct/2026:14:34:56 +0200] \"GET /a/b?x=1 HTTP/1.1\" "
			   "404 3456 \"r\" "
			   "\"-\"");
	expect("json",
		"{\"time\":\"2026-10-03T14:34:56.789+02:00\",\"pool\":\"www\",\"pid\":4711,"
		"\"remote_addr\":\"192.0.2.1\",\"remote_user\":\"\",\"host\":\"server\","
		"\"method\":\"GET\",\"uri\":\"/a/b?x=1\",\"protocol\":\"HTTP/1.1\",\"status\":404,"
		"\"bytes\":3456,\"bytes_in\":12,\"time_s\":1.234567,\"referer\":\"r\","
		"\"user_agent\":\"\",\"request_id\":\"\"}");
}

/* Web servers send what they like of these. */
static void test_paths(void **unused)
{
	struct logline facts = plain;

	(void)unused;
	facts.params = only_uri;
	expect_facts("%{path} %{uri}", &facts, "/x /x?y");
	facts.params = no_uri;
	expect_facts("%{path} %{uri}", &facts, "/s /s?q");
	facts.params = nothing;
	expect_facts("%{path} %{uri} %{method}", &facts, "- - -");
}

static void test_escapes(void **unused)
{
	struct logline facts = plain;

	(void)unused;
	facts.params = foreign;
	expect_facts("%{param:A}", &facts, "\\x22\\x5C\\x0A\\x0D\\x09\\x01\\x7F<&'");
	expect_facts("%{param:B}", &facts, "b\\xC3\\xA4r\\xE2\\x82\\xAC\\xF0\\x9F\\x98\\x80");
	expect_facts("{%{param:A}", &facts, "{\\\"\\\\\\n\\r\\t\\u0001\\u007F<&'");
	expect_facts("{%{param:B}", &facts, "{b\xc3\xa4r\xe2\x82\xac\xf0\x9f\x98\x80");
#define NO "\xef\xbf\xbd"
	expect_facts("{%{param:C}", &facts, "{" NO NO "(" NO NO NO NO NO NO NO NO NO NO NO);
}

/* A value that is too long is cut between two characters, and what follows it stands. */
static void test_bounds(void **unused)
{
	struct logline facts = plain;
	char wanted[LOGLINE_VALUE + 100];

	(void)unused;
	facts.params = too_long;
	memset(long_value + 2, 'x', sizeof(long_value) - 3);
	snprintf(wanted, sizeof(wanted), "%.*s GET", LOGLINE_VALUE, long_value + 2);
	expect_facts("%{param:A} %{method}", &facts, wanted);
	for (int i = 0; i < 5; i++) { /* escapes of four bytes, at another place each time */
		memset(long_value + 2, 'x', (size_t)i);
		memset(long_value + 2 + i, '\n', sizeof(long_value) - 3 - (size_t)i);
		size_t n = (size_t)i;
		memset(wanted, 'x', n);
		while (n + 4 <= LOGLINE_VALUE) {
			memcpy(wanted + n, "\\x0A", 4);
			n += 4;
		}
		snprintf(wanted + n, sizeof(wanted) - n, "|");
		expect_facts("%{param:A}|", &facts, wanted);
	}
}

static void test_many_parts_fit(void **unused)
{
	char text[LOGFORMAT_TEXT + 1] = "";
	struct logline facts = plain;

	(void)unused;
	memset(long_address + 12, '"', sizeof(long_address) - 13);
	for (int i = 0; i < 60; i++)
		strcat(text, "%{remote_addr} %{pid}");
	facts.params = too_long;
	facts.us = facts.bytes = facts.bytes_in = facts.began_ms = UINT64_MAX;
	facts.pid = facts.status = UINT32_MAX;
	struct logformat *format = logformat_compile(text, NULL);
	assert_null(format); /* more than 128 parts */
	text[strlen(text) / 3] = '\0';
	*strrchr(text, '%') = '\0';
	strcat(text, "%{time_us}%{time_s}%{time_iso}%{time_clf}%{bytes}%{status}");
	format = logformat_compile(text, NULL);
	assert_non_null(format);
	char *out = malloc(logline_room(format));
	assert_non_null(out);
	assert_true(logline_write(format, &facts, out) <= logline_room(format));
	free(out);
	logformat_free(format);
}

static void test_mistakes(void **unused)
{
	static const char *const all[][2] = {
		{ "%{methd}", "unknown field %{methd}: did you mean %{method}?" },
		{ "%{xyzzy}", "unknown field %{xyzzy}" },
		{ "%{}", "unknown field %{}" },
		{ "%{param:}", "%{param:} names no parameter" },
		{ "%{param:A=B}", "%{param:A=B} names no parameter" },
		{ "%{pid", "\"%{pid\" is no field: write %{NAME}, or %% for a percent sign" },
		{ "%h %l", "\"%h %l\" is no field: write %{NAME}, or %% for a percent sign" },
		{ "%{pid} 100%", "\"%\" is no field: write %{NAME}, or %% for a percent sign" },
		{ "combind", "unknown format \"combind\": did you mean \"combined\"?" },
		{ "nothing", "\"nothing\" has no field, and is none of common, combined and json" },
	};

	(void)unused;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		struct err err = { 0 };

		assert_null(logformat_compile(all[i][0], &err));
		assert_string_equal(err.text, all[i][1]);
	}
}

/* Against the C library, every 7 hours and some for 200 years. */
static void test_calendar(void **unused)
{
	struct logline facts = plain;
	char wanted[64];

	(void)unused;
	for (time_t t = 0; t < 6500000000; t += 7 * 3600 + 1234567) {
		struct tm tm;

		facts.began_ms = (uint64_t)t * 1000;
		facts.offset = t % 2 == 0 ? 0 : -16200;
		time_t local = t + facts.offset;
		if (local < 0)
			continue;
		gmtime_r(&local, &tm);
		strftime(wanted, sizeof(wanted), "%d/%b/%Y:%H:%M:%S ", &tm);
		strcat(wanted, facts.offset == 0 ? "+0000" : "-0430");
		expect_facts("%{time_clf}", &facts, wanted);
	}
}

static struct answer answer_of(const char *text, size_t piece)
{
	struct answer a = { 0 };
	size_t length = strlen(text);

	for (size_t i = 0; i < length; i += piece)
		answer_take(&a, (const unsigned char *)text + i,
			length - i < piece ? length - i : piece);
	return a;
}

static void test_answers(void **unused)
{
	static const struct {
		const char *text;
		unsigned status;
		uint64_t head;
	} all[] = {
		{ "Content-Type: text/plain\r\n\r\nStatus: 500\r\n\r\n", 200, 28 },
		{ "Status: 404 Not Found\r\nA: b\r\n\r\nbody", 404, 31 },
		{ "A: Status: 1\nstatus:\t \t503\n\nbody", 503, 28 },
		{ "STATUS:201\n\n", 201, 12 },
		{ "Status: 204\nStatus: 500\n\n", 204, 25 },
		{ "Status: 20x\n\n", 200, 13 },
		{ "Status: 20\n\n", 200, 12 },
		{ "Status:\n\n", 200, 9 },
		{ "Location: /x\r\n\r\n", 302, 16 },
		{ "location: /x\nStatus: 301\n\n", 301, 26 },
		{ "\n", 200, 1 },
		{ "Status: 404\r\n", 404, 13 },
		{ "no head at all", 0, 14 },
		{ "", 0, 0 },
	};

	(void)unused;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		for (size_t piece = 1; piece < 50; piece++) {
			struct answer a = answer_of(all[i].text, piece);

			assert_int_equal(a.status, all[i].status);
			assert_int_equal(a.head, all[i].head);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_ready_made),
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_escapes),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_many_parts_fit),
		cmocka_unit_test(test_mistakes),
		cmocka_unit_test(test_calendar),
		cmocka_unit_test(test_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
