/* Text to numbers and back: what is accepted, what is refused, and with which words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/un.h>
#include <sysexits.h>

#include "common/err.h"
#include "common/units.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define HUNDRED                                              \
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" \
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

/* One text and what it means; why NULL: it is accepted. */
struct row {
	const char *text;
	uint64_t value;
	const char *why;
};

typedef int row_parser(const char *text, uint64_t *out, struct err *err);

static void check_rows(const struct row *rows, size_t count, row_parser *parse)
{
	for (size_t i = 0; i < count; i++) {
		uint64_t value = 4711;
		struct err err = { 0 };
		int rc = parse(rows[i].text, &value, &err);

		if (rows[i].why == NULL) {
			if (rc != 0)
				fail_msg("%s was refused: %s", rows[i].text, err.text);
			if (value != rows[i].value)
				fail_msg("%s became %ju", rows[i].text, (uintmax_t)value);
			continue;
		}
		if (rc != -1)
			fail_msg("%s was accepted", rows[i].text);
		assert_string_equal(err.text, rows[i].why);
		assert_int_equal(err.code, EX_CONFIG);
		assert_int_equal(value, 4711);
		/* Nobody has to ask for the reason. */
		assert_int_equal(parse(rows[i].text, &value, NULL), -1);
	}
}

static int number_to_100(const char *text, uint64_t *out, struct err *err)
{
	return units_number(text, 1, 100, out, err);
}

static int any_number(const char *text, uint64_t *out, struct err *err)
{
	return units_number(text, 0, UINT64_MAX, out, err);
}

static void test_numbers(void **unused)
{
	static const struct row limited[] = {
		{ "1", 1, NULL },
		{ "100", 100, NULL },
		{ "007", 7, NULL },
		{ "0", 0, "0 is out of range: 1 to 100" },
		{ "101", 0, "101 is out of range: 1 to 100" },
		{ "99999999999999999999999", 0,
			"99999999999999999999999 is out of range: 1 to 100" },
		{ "", 0, "a number is missing" },
		{ "-1", 0, "\"-1\" is not a whole number" },
		{ "+1", 0, "\"+1\" is not a whole number" },
		{ " 1", 0, "\" 1\" is not a whole number" },
		{ "1 ", 0, "\"1 \" is not a whole number" },
		{ "1x", 0, "\"1x\" is not a whole number" },
		{ "0x10", 0, "\"0x10\" is not a whole number" },
	};
	static const struct row wide[] = {
		{ "0", 0, NULL },
		{ "18446744073709551615", UINT64_MAX, NULL },
		{ "18446744073709551616", 0,
			"18446744073709551616 is out of range: 0 to 18446744073709551615" },
		{ "184467440737095516150", 0,
			"184467440737095516150 is out of range: 0 to 18446744073709551615" },
	};

	(void)unused;
	check_rows(limited, COUNT(limited), number_to_100);
	check_rows(wide, COUNT(wide), any_number);
}

#define NO_DURATION(text) \
	"\"" text "\" is not a duration: write a whole number with ms, s, m, h or d, as in 30s"

static void test_durations(void **unused)
{
	static const struct row rows[] = {
		{ "0", 0, NULL },
		{ "30", 30000, NULL },
		{ "30s", 30000, NULL },
		{ "500ms", 500, NULL },
		{ "2m", 120000, NULL },
		{ "1h", 3600000, NULL },
		{ "1d", 86400000, NULL },
		{ "9223372036854775807ms", INT64_MAX, NULL },
		{ "9223372036854775808ms", 0, "\"9223372036854775808ms\" is too long a time" },
		{ "9223372036854775807d", 0, "\"9223372036854775807d\" is too long a time" },
		{ "99999999999999999999", 0, "\"99999999999999999999\" is too long a time" },
		{ "", 0, NO_DURATION("") },
		{ "s", 0, NO_DURATION("s") },
		{ "-1s", 0, NO_DURATION("-1s") },
		{ "1.5s", 0, NO_DURATION("1.5s") },
		{ "30 s", 0, NO_DURATION("30 s") },
		{ "30S", 0, NO_DURATION("30S") },
		{ "1m30s", 0, NO_DURATION("1m30s") },
	};

	(void)unused;
	check_rows(rows, COUNT(rows), units_duration);
}

#define NO_SIZE(text)                                                                             \
	"\"" text "\" is not a size: write a whole number of bytes, or with K, M, G or T, as in " \
	"64M"

static void test_sizes(void **unused)
{
	static const struct row rows[] = {
		{ "0", 0, NULL },
		{ "4096", 4096, NULL },
		{ "512K", 524288, NULL },
		{ "64M", 67108864, NULL },
		{ "1G", 1073741824, NULL },
		{ "2T", 2199023255552, NULL },
		{ "8388607T", 9223370937343148032, NULL },
		{ "8388608T", 0, "\"8388608T\" is too large a size" },
		{ "99999999999999999999K", 0, "\"99999999999999999999K\" is too large a size" },
		{ "", 0, NO_SIZE("") },
		{ "M", 0, NO_SIZE("M") },
		{ "64MB", 0, NO_SIZE("64MB") },
		{ "64 M", 0, NO_SIZE("64 M") },
		{ "64m", 0, NO_SIZE("64m") },
	};

	(void)unused;
	check_rows(rows, COUNT(rows), units_size);
}

static int mode_to_777(const char *text, uint64_t *out, struct err *err)
{
	unsigned mode = (unsigned)*out;
	int rc = units_mode(text, 0777, &mode, err);

	*out = mode;
	return rc;
}

static void test_modes(void **unused)
{
	static const struct row rows[] = {
		{ "0660", 0660, NULL },
		{ "022", 022, NULL },
		{ "0", 0, NULL },
		{ "777", 0777, NULL },
		{ "1000", 0, "mode 1000 is out of range: 0 to 0777" },
		{ "7777777777777777777777777", 0,
			"mode 7777777777777777777777777 is out of range: 0 to 0777" },
		{ "", 0, "\"\" is not an octal mode, as in 0660" },
		{ "0668", 0, "\"0668\" is not an octal mode, as in 0660" },
		{ "-1", 0, "\"-1\" is not an octal mode, as in 0660" },
		{ "rw-rw----", 0, "\"rw-rw----\" is not an octal mode, as in 0660" },
	};

	(void)unused;
	check_rows(rows, COUNT(rows), mode_to_777);
}

static int signal_number(const char *text, uint64_t *out, struct err *err)
{
	int signo = (int)*out;
	int rc = units_signal(text, &signo, err);

	*out = (uint64_t)signo;
	return rc;
}

#define NO_SIGNAL(text) "\"" text "\" is not a signal: TERM, INT, QUIT, HUP, USR1 and USR2 are"

static void test_signals(void **unused)
{
	static const struct row rows[] = {
		{ "TERM", SIGTERM, NULL },
		{ "SIGTERM", SIGTERM, NULL },
		{ "quit", SIGQUIT, NULL },
		{ "sigusr1", SIGUSR1, NULL },
		{ "WINCH", SIGWINCH, NULL },
		{ "15", 15, NULL },
		{ "64", 64, NULL },
		{ "0", 0, "0 is out of range: 1 to 64" },
		{ "65", 0, "65 is out of range: 1 to 64" },
		{ "KILL", 0, "KILL cannot be handled by a program" },
		{ "SIGSTOP", 0, "SIGSTOP cannot be handled by a program" },
		{ "9", 0, "9 cannot be handled by a program" },
		{ "", 0, NO_SIGNAL("") },
		{ "SIG", 0, NO_SIGNAL("SIG") },
		{ "TREM", 0, NO_SIGNAL("TREM") },
		{ "-15", 0, NO_SIGNAL("-15") },
	};

	(void)unused;
	check_rows(rows, COUNT(rows), signal_number);
	assert_string_equal(units_signal_name(SIGTERM), "TERM");
	assert_string_equal(units_signal_name(SIGUSR2), "USR2");
	assert_string_equal(units_signal_name(0), "SIG?");
	assert_string_equal(units_signal_name(64), "SIG?");
}

static void test_bools(void **unused)
{
	static const char *const yes[] = { "yes", "on", "true", "1", "Yes" };
	static const char *const no[] = { "no", "off", "false", "0", "NO" };
	struct err err;
	bool value;

	(void)unused;
	for (size_t i = 0; i < COUNT(yes); i++) {
		value = false;
		assert_int_equal(units_bool(yes[i], &value, &err), 0);
		assert_true(value);
		assert_int_equal(units_bool(no[i], &value, &err), 0);
		assert_false(value);
	}
	assert_int_equal(units_bool("yse", &value, &err), -1);
	assert_string_equal(err.text, "\"yse\" is neither yes nor no");
	assert_int_equal(units_bool("", &value, &err), -1);
}

static void test_texts(void **unused)
{
	static const struct {
		uint64_t ms;
		const char *text;
	} durations[] = { { 0, "0" }, { 1, "1ms" }, { 1500, "1500ms" }, { 30000, "30s" },
		{ 90000, "90s" }, { 120000, "2m" }, { 3600000, "1h" }, { 172800000, "2d" } };
	static const struct {
		uint64_t bytes;
		const char *text;
	} sizes[] = { { 0, "0" }, { 1000, "1000" }, { 1024, "1K" }, { 67108864, "64M" },
		{ 1073741825, "1073741825" }, { 1099511627776, "1T" } };
	char text[64];
	uint64_t back;

	(void)unused;
	for (size_t i = 0; i < COUNT(durations); i++) {
		assert_string_equal(units_duration_text(durations[i].ms, text, sizeof(text)),
			durations[i].text);
		assert_int_equal(units_duration(text, &back, NULL), 0);
		assert_int_equal(back, durations[i].ms);
	}
	for (size_t i = 0; i < COUNT(sizes); i++) {
		assert_string_equal(
			units_size_text(sizes[i].bytes, text, sizeof(text)), sizes[i].text);
		assert_int_equal(units_size(text, &back, NULL), 0);
		assert_int_equal(back, sizes[i].bytes);
	}
}

static void test_good_addresses(void **unused)
{
	static const struct {
		const char *text, *canonical;
		enum address_kind kind;
		int family;
		bool wildcard;
	} rows[] = {
		{ "127.0.0.1:9000", "127.0.0.1:9000", ADDRESS_TCP, AF_INET, false },
		{ "0.0.0.0:1", "0.0.0.0:1", ADDRESS_TCP, AF_INET, false },
		{ "127.0.0.1:065535", "127.0.0.1:65535", ADDRESS_TCP, AF_INET, false },
		{ "[::1]:9000", "[::1]:9000", ADDRESS_TCP, AF_INET6, false },
		{ "[2001:DB8:0::0:1]:80", "[2001:db8::1]:80", ADDRESS_TCP, AF_INET6, false },
		{ "[::ffff:10.0.0.1]:80", "[::ffff:10.0.0.1]:80", ADDRESS_TCP, AF_INET6, false },
		{ "[::]:9000", "[::]:9000", ADDRESS_TCP, AF_INET6, false },
		{ "*:9000", "*:9000", ADDRESS_TCP, AF_INET6, true },
		{ "/run/x.sock", "/run/x.sock", ADDRESS_UNIX, AF_UNIX, false },
		{ "/run/a b:1", "/run/a b:1", ADDRESS_UNIX, AF_UNIX, false },
		{ "@abstract", "@abstract", ADDRESS_ABSTRACT, AF_UNIX, false },
		{ "fd:www", "fd:www", ADDRESS_FD, 0, false },
	};

	(void)unused;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct address address, again;
		struct err err;

		if (units_address(rows[i].text, &address, &err) != 0)
			fail_msg("%s was refused: %s", rows[i].text, err.text);
		assert_string_equal(address.text, rows[i].canonical);
		assert_int_equal(address.kind, rows[i].kind);
		assert_int_equal(address.sa.ss_family, rows[i].family);
		assert_int_equal(address.wildcard, rows[i].wildcard);
		assert_int_equal(units_address(address.text, &again, &err), 0);
		assert_memory_equal(&address.sa, &again.sa, sizeof(again.sa));
		assert_int_equal(address.len, again.len);
	}
}

static void test_address_bytes(void **unused)
{
	struct address address;
	const struct sockaddr_in *in4 = (const struct sockaddr_in *)&address.sa;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&address.sa;
	const struct sockaddr_un *un = (const struct sockaddr_un *)&address.sa;

	(void)unused;
	assert_int_equal(units_address("10.1.2.3:258", &address, NULL), 0);
	assert_int_equal(address.len, sizeof(*in4));
	assert_int_equal(in4->sin_addr.s_addr, htonl(0x0a010203));
	assert_int_equal(in4->sin_port, htons(258));
	assert_int_equal(units_address("*:9000", &address, NULL), 0);
	assert_int_equal(address.len, sizeof(*in6));
	assert_int_equal(in6->sin6_port, htons(9000));
	assert_memory_equal(&in6->sin6_addr, &in6addr_any, sizeof(in6addr_any));
	assert_int_equal(units_address("/a", &address, NULL), 0);
	assert_string_equal(un->sun_path, "/a");
	assert_int_equal(address.len, offsetof(struct sockaddr_un, sun_path) + 3);
	assert_int_equal(units_address("@ab", &address, NULL), 0);
	assert_memory_equal(un->sun_path, "\0ab", 4);
	assert_int_equal(address.len, offsetof(struct sockaddr_un, sun_path) + 3);
}

/* sun_path has 108 bytes; a path needs one for its NUL, an abstract name one in front. */
static void test_long_addresses(void **unused)
{
	struct address address;
	struct err err;

	(void)unused;
	assert_int_equal(units_address("/" HUNDRED "aaaaaa", &address, &err), 0);
	assert_int_equal(address.len, sizeof(struct sockaddr_un));
	assert_int_equal(units_address("/" HUNDRED "aaaaaaa", &address, &err), -1);
	assert_string_equal(err.text,
		"\"/" HUNDRED "aaaaaaa\" is too long for a unix socket: at most 107 bytes");
	assert_int_equal(units_address("@" HUNDRED "aaaaaaa", &address, &err), 0);
	assert_int_equal(address.len, sizeof(struct sockaddr_un));
	assert_int_equal(units_address("@" HUNDRED "aaaaaaaa", &address, &err), -1);
	assert_int_equal(
		units_address("fd:" HUNDRED "aaaaaaaaaaaaaaaaaaaaaaaa", &address, &err), 0);
	assert_int_equal(
		units_address("fd:" HUNDRED "aaaaaaaaaaaaaaaaaaaaaaaaa", &address, &err), -1);
	assert_int_equal(units_address(HUNDRED ":80", &address, &err), -1);
}

static void test_bad_addresses(void **unused)
{
	static const struct {
		const char *text, *why;
	} rows[] = {
		{ "", "an address is missing" },
		{ "9000", "\"9000\" needs a host, as in 127.0.0.1:9000, or *:9000 for every "
			  "address" },
		{ ":9000", "\":9000\" has no host: *:9000 listens on every address" },
		{ "127.0.0.1",
			"\"127.0.0.1\" is not an address: write HOST:PORT, an absolute path, "
			"@NAME or fd:NAME" },
		{ "run/x.sock",
			"\"run/x.sock\" is not an address: write HOST:PORT, an absolute path, "
			"@NAME or fd:NAME" },
		{ "127.0.0.1:", "\"127.0.0.1:\": the port is a number from 1 to 65535" },
		{ "127.0.0.1:0", "\"127.0.0.1:0\": the port is a number from 1 to 65535" },
		{ "127.0.0.1:65536", "\"127.0.0.1:65536\": the port is a number from 1 to 65535" },
		{ "127.0.0.1:http", "\"127.0.0.1:http\": the port is a number from 1 to 65535" },
		{ "127.0.0.256:80",
			"\"127.0.0.256\" is not a numeric address, and names are not looked up: "
			"write one as in 127.0.0.1:9000" },
		{ "localhost:9000",
			"\"localhost\" is not a numeric address, and names are not looked up: "
			"write one as in 127.0.0.1:9000" },
		{ "::1:9000",
			"\"::1:9000\": an IPv6 address stands in brackets, as in [::1]:9000" },
		{ "[::1]", "\"[::1]\" has no port: write [::1]:9000" },
		{ "[::1]9000", "\"[::1]9000\": after ] comes :PORT" },
		{ "[::1:9000", "\"[::1:9000\" has no closing bracket" },
		{ "[::g]:9000", "\"::g\" is not an IPv6 address" },
		{ "[127.0.0.1]:9000", "\"127.0.0.1\" is not an IPv6 address" },
		{ "[*]:9000", "\"*\" is not an IPv6 address" },
		{ "[]:9000", "\"\" is not an IPv6 address" },
		{ "/", "\"/\" does not end with a name" },
		{ "/run/", "\"/run/\" does not end with a name" },
		{ "@", "\"@\" does not end with a name" },
		{ "fd:", "\"fd:\" does not name a passed socket: fd:NAME" },
		{ "fd:a:b", "\"fd:a:b\" does not name a passed socket: fd:NAME" },
		{ "unix:/run/x.sock", "\"unix:/run/x.sock\": write the path alone" },
		{ "/run/\tx", "\"/run/\tx\" has a control character" },
	};

	(void)unused;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct address address = { .len = 4711 };
		struct err err = { 0 };

		if (units_address(rows[i].text, &address, &err) != -1)
			fail_msg("%s was accepted", rows[i].text);
		assert_string_equal(err.text, rows[i].why);
		assert_int_equal(err.code, EX_CONFIG);
		assert_int_equal(address.len, 4711);
	}
}

static void test_good_networks(void **unused)
{
	static const struct {
		const char *text, *canonical;
		int family;
		unsigned prefix;
	} rows[] = {
		{ "10.0.0.0/8", "10.0.0.0/8", AF_INET, 8 },
		{ "0.0.0.0/0", "0.0.0.0/0", AF_INET, 0 },
		{ "192.0.2.1", "192.0.2.1", AF_INET, 32 },
		{ "192.0.2.1/32", "192.0.2.1", AF_INET, 32 },
		{ "192.0.2.128/25", "192.0.2.128/25", AF_INET, 25 },
		{ "::1", "::1", AF_INET6, 128 },
		{ "::/0", "::/0", AF_INET6, 0 },
		{ "2001:DB8::/32", "2001:db8::/32", AF_INET6, 32 },
		{ "2001:db8::fff8/125", "2001:db8::fff8/125", AF_INET6, 125 },
	};

	(void)unused;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct network network;
		struct err err;
		char text[64];

		if (units_network(rows[i].text, &network, &err) != 0)
			fail_msg("%s was refused: %s", rows[i].text, err.text);
		assert_int_equal(network.family, rows[i].family);
		assert_int_equal(network.prefix, rows[i].prefix);
		assert_string_equal(
			units_network_text(&network, text, sizeof(text)), rows[i].canonical);
	}
}

static void test_bad_networks(void **unused)
{
	static const struct {
		const char *text, *why;
	} rows[] = {
		{ "", "\"\" is not a network, as in 10.0.0.0/8 or ::1" },
		{ "10/8", "\"10/8\" is not a network, as in 10.0.0.0/8 or ::1" },
		{ "localhost", "\"localhost\" is not a network, as in 10.0.0.0/8 or ::1" },
		{ "[::1]", "\"[::1]\" is not a network, as in 10.0.0.0/8 or ::1" },
		{ HUNDRED, "\"" HUNDRED "\" is not a network" },
		{ "10.0.0.0/33", "\"10.0.0.0/33\": the prefix is a number from 0 to 32" },
		{ "10.0.0.0/", "\"10.0.0.0/\": the prefix is a number from 0 to 32" },
		{ "10.0.0.0/-1", "\"10.0.0.0/-1\": the prefix is a number from 0 to 32" },
		{ "::/129", "\"::/129\": the prefix is a number from 0 to 128" },
		{ "10.0.0.1/8", "\"10.0.0.1/8\" has bits beyond its prefix: write 10.0.0.0/8" },
		{ "10.0.0.1/31", "\"10.0.0.1/31\" has bits beyond its prefix: write 10.0.0.0/31" },
		{ "2001:db8::1/32",
			"\"2001:db8::1/32\" has bits beyond its prefix: write 2001:db8::/32" },
	};

	(void)unused;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct network network = { .prefix = 4711 };
		struct err err = { 0 };

		if (units_network(rows[i].text, &network, &err) != -1)
			fail_msg("%s was accepted", rows[i].text);
		assert_string_equal(err.text, rows[i].why);
		assert_int_equal(network.prefix, 4711);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_durations),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_modes),
		cmocka_unit_test(test_signals),
		cmocka_unit_test(test_bools),
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_good_addresses),
		cmocka_unit_test(test_address_bytes),
		cmocka_unit_test(test_long_addresses),
		cmocka_unit_test(test_bad_addresses),
		cmocka_unit_test(test_good_networks),
		cmocka_unit_test(test_bad_networks),
	};

	return cmocka_run_group_tests_name("units", tests, NULL, NULL);
}
