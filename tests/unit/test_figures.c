/* What the client makes of the gate's JSON, whatever that says; and how figures look. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "ctl/figures.h"
#include "ctl/order.h"
#include "ctl/print.h"
#include "ctl/rates.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct figures *read_text(const char *json)
{
	struct err err = { 0 };
	struct figures *figures = figures_read(json, strlen(json), &err);

	assert_true((figures == NULL) == (err.code != 0));
	return figures;
}

static void test_no_status(void **state)
{
	static const char *const texts[] = { "", "nothing", "{", "[]", "null", "{}",
		"{\"pools\": 1}", "{\"pools\": {}}", "{\"pools\": [}", "\xff" };

	(void)state;
	for (size_t i = 0; i < COUNT(texts); i++)
		assert_null(read_text(texts[i]));
	assert_null(figures_read(NULL, 0, NULL));
}

/* Every place holds something of another type. */
static void test_wrong_types(void **state)
{
	struct figures *f = read_text(
		"{\"version\": 1, \"state\": [], \"pid\": \"x\", \"now\": null, \"reloads\": 3,"
		" \"upgrades\": {\"last\": \"x\", \"done\": -5}, \"pools\": [null, 7, [], {},"
		" {\"name\": {}, \"listeners\": 4, \"list\": \"x\", \"workers\": [], \"died\": 1},"
		" {\"listeners\": [null, 1], \"list\": [null, {\"request\": 1, \"pid\": 1.5}]}]}");

	(void)state;
	assert_non_null(f);
	assert_int_equal(f->pid, -1);
	assert_int_equal(f->upgrades.done, -1);
	assert_int_equal(f->count, 6);
	assert_string_equal(f->pools[4].name, "");
	assert_int_equal(f->pools[5].listener_count, 2);
	assert_int_equal(f->pools[5].queue, -1);
	assert_int_equal(f->pools[5].worker_count, 2);
	assert_int_equal(f->pools[5].workers[1].pid, -1);
	assert_false(figures_healthy(f));
	figures_free(f);
}

static void test_foreign_text(void **state)
{
	struct figures *f = read_text(
		"{\"state\": \"serving\", \"pools\": [{\"name\": \"a\\u001b[31mb\\u009b\\u202ec\","
		" \"healthy\": true, \"list\": [{\"state\": \"idleidleidleidleidleidle\","
		" \"request\": {\"method\": \"G\\nT\", \"path\": \"/\\u0000x\", \"seconds\": "
		"1}}]}]}");

	(void)state;
	assert_null(f); /* a NUL inside of a text is refused */
	f = read_text(
		"{\"state\": \"serving\", \"pools\": [{\"name\": \"a\\u001b[31mb\\u009b\\u202ec\","
		" \"healthy\": true, \"list\": [{\"state\": \"idleidleidleidleidleidle\","
		" \"request\": {\"method\": \"G\\nT\", \"path\": \"/x\", \"seconds\": 1}}]}]}");
	assert_non_null(f);
	assert_string_equal(f->pools[0].name, "a?[31mb?????c");
	assert_string_equal(f->pools[0].workers[0].request.method, "G?T");
	assert_int_equal(strlen(f->pools[0].workers[0].state), 15);
	assert_true(figures_healthy(f));
	figures_free(f);
}

#define DAEMON(pid, requests, cpu)                                                     \
	"{\"pid\": " pid ", \"pools\": [{\"name\": \"b\", \"requests\": " requests "," \
	" \"list\": [{\"slot\": 1, \"pid\": 7, \"cpu_seconds\": " cpu "},"             \
	" {\"slot\": 2, \"pid\": 3, \"cpu_seconds\": null}]}]}"

static void check_rates(const char *before, const char *now, double rate, double share)
{
	struct figures *old = before != NULL ? read_text(before) : NULL, *f = read_text(now);

	rates_fill(f, old, 2);
	assert_true(f->pools[0].rate == rate);
	assert_true(f->pools[0].workers[0].cpu_share == share);
	assert_true(f->pools[0].workers[1].cpu_share == -1);
	figures_free(old);
	figures_free(f);
}

static void test_rates(void **state)
{
	(void)state;
	check_rates(DAEMON("1", "10", "1.5"), DAEMON("1", "40", "2.5"), 15, 0.5);
	check_rates(NULL, DAEMON("1", "40", "2.5"), -1, -1);
	check_rates(DAEMON("2", "10", "1.5"), DAEMON("1", "40", "2.5"), -1, -1);
	check_rates(DAEMON("1", "50", "3.5"), DAEMON("1", "40", "2.5"), -1, -1);
	check_rates(DAEMON("1", "null", "null"), DAEMON("1", "40", "2.5"), -1, -1);
	check_rates("{\"pid\": 1, \"pools\": []}", DAEMON("1", "40", "2.5"), -1, -1);
}

static void test_order(void **state)
{
	struct figures *f =
		read_text("{\"pools\": [{\"name\": \"b\", \"list\": ["
			  "{\"slot\": 2, \"requests\": 5, \"resident_bytes\": 1},"
			  "{\"slot\": 1, \"requests\": 5, \"request\": {\"seconds\": 2}}]},"
			  "{\"name\": \"a\", \"list\": [{\"slot\": 9, \"requests\": 7, \"request\":"
			  " {\"seconds\": 3}}]}]}");
	static const int64_t wanted[ORDER_COUNT][3] = { [ORDER_TIME] = { 9, 1, 2 },
		[ORDER_CPU] = { 9, 1, 2 },
		[ORDER_MEMORY] = { 2, 9, 1 },
		[ORDER_REQUESTS] = { 9, 1, 2 },
		[ORDER_POOL] = { 9, 1, 2 } };
	size_t count = 0;

	(void)state;
	for (enum order_key key = 0; key < ORDER_COUNT; key++) {
		struct order_row *rows = order_rows(f, key, &count);
		assert_int_equal(count, 3);
		for (size_t i = 0; i < count; i++)
			assert_int_equal(rows[i].worker->slot, wanted[key][i]);
		free(rows);
	}
	figures_free(f);
}

#define BUCKETS(a, b, c, sum)                                                      \
	"{\"pid\": 1, \"pools\": [{\"latency\": {\"sum\": " sum ", \"buckets\": [" \
	"{\"le\": 0.001, \"count\": " a "}, {\"le\": 0.1, \"count\": " b "},"      \
	" {\"le\": null, \"count\": " c "}]}}]}"

static void test_latency(void **state)
{
	static const char *const bad[] = { BUCKETS("5", "4", "9", "1"), BUCKETS("5", "9", "8", "1"),
		BUCKETS("null", "1", "2", "1"), BUCKETS("1", "2", "3", "null"),
		"{\"pools\": [{\"latency\": null}]}", "{\"pools\": [{\"latency\": {}}]}",
		("{\"pools\": [{\"latency\": {\"sum\": 1, \"buckets\": [{\"le\": 2, \"count\": 1},"
		 " {\"le\": 1, \"count\": 2}, {\"le\": null, \"count\": 3}]}}]}") };
	struct figures *before = read_text(BUCKETS("0", "0", "100", "200"));
	struct figures *f = read_text(BUCKETS("50", "99", "200", "200.5"));

	(void)state;
	assert_true(figures_within(&f->pools[0].latency, 25) == 0.001);
	assert_true(figures_within(&f->pools[0].latency, 26) == 0.1);
	assert_true(isinf(figures_within(&f->pools[0].latency, 95)));
	assert_true(figures_mean(&f->pools[0].latency) == 200.5 / 200);
	assert_true(figures_within(&f->pools[0].recent, 50) == -1);
	rates_fill(f, before, 1);
	assert_true(figures_within(&f->pools[0].recent, 50) == 0.001);
	assert_true(figures_within(&f->pools[0].recent, 95) == 0.1);
	assert_true(figures_mean(&f->pools[0].recent) == 0.005);
	rates_fill(before, f, 1); /* which goes back */
	assert_true(figures_within(&before->pools[0].recent, 50) == -1);
	figures_free(before);
	figures_free(f);
	for (size_t i = 0; i < COUNT(bad); i++) {
		f = read_text(bad[i]);
		assert_true(figures_within(&f->pools[0].latency, 50) == -1);
		assert_true(figures_mean(&f->pools[0].latency) == -1);
		figures_free(f);
	}
}

static void test_retirement(void **state)
{
	static const struct {
		const char *json, *word;
	} cases[] = {
		{ "{\"retirement\": \"signal\", \"pools\": [{\"kind\": \"app\"}]}", NULL },
		{ "{\"retirement\": \"trace\", \"pools\": [{\"kind\": \"command\"}]}", NULL },
		{ "{\"pools\": [{\"kind\": \"command\"}]}", NULL },
		{ "{\"retirement\": \"stop\", \"pools\": [{\"kind\": \"command\"}]}", "traced" },
		{ "{\"retirement\": \"signal\", \"pools\": [{\"kind\": \"app\"},"
		  " {\"kind\": \"command\"}]}",
			"cut a request" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct figures *f = read_text(cases[i].json);
		const char *said = figures_retirement(f);

		if (cases[i].word == NULL)
			assert_null(said);
		else
			assert_non_null(strstr(said, cases[i].word));
		figures_free(f);
	}
}

static void test_texts(void **state)
{
	char out[PRINT_WIDTH];

	(void)state;
	assert_string_equal(print_number(-1, out), "-");
	assert_string_equal(print_number(INT64_MAX, out), "9223372036854775807");
	assert_string_equal(print_bytes(1023, out), "1023");
	assert_string_equal(print_bytes(1024, out), "1.0K");
	assert_string_equal(print_bytes(1048575, out), "1.0M");
	assert_string_equal(print_bytes(INT64_MAX, out), "8.0E");
	assert_string_equal(print_seconds(-1, out), "-");
	assert_string_equal(print_seconds(0, out), "0s");
	assert_string_equal(print_seconds(0.00005, out), "50us");
	assert_string_equal(print_seconds(0.0009996, out), "1.0ms");
	assert_string_equal(print_seconds(0.0025, out), "2.5ms");
	assert_string_equal(print_seconds(0.00996, out), "10ms");
	assert_string_equal(print_seconds(0.0996, out), "0.10s");
	assert_string_equal(print_seconds(2, out), "2.00s");
	assert_string_equal(print_seconds(9.996, out), "10s");
	assert_string_equal(print_seconds(59.6, out), "1m00s");
	assert_string_equal(print_seconds(7261, out), "2h01m");
	assert_string_equal(print_seconds(90000, out), "1d01h");
	assert_string_equal(print_seconds(1e300, out), "-");
	assert_string_equal(print_rate(0.25, out), "0.2");
	assert_string_equal(print_rate(30412.4, out), "30412");
	assert_string_equal(print_safe("a\tb\x7f\x80", out, 5), "a?b?");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_status),
		cmocka_unit_test(test_wrong_types),
		cmocka_unit_test(test_foreign_text),
		cmocka_unit_test(test_rates),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_latency),
		cmocka_unit_test(test_retirement),
		cmocka_unit_test(test_texts),
	};

	return cmocka_run_group_tests_name("figures", tests, NULL, NULL);
}
