/* state: what was put comes back, and what could not have been put is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above */
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/err.h"
#include "master/state.h"

#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

struct thing {
	bool yes;
	int pid, fd, none;
	uint64_t large;
	char text[8], bytes[3];
	char *name, *absent;
	struct state_blob blob;
};

static const struct state_row rows[] = {
	STATE_ROW(NUMBER, struct thing, yes, 1),
	STATE_ROW(NUMBER, struct thing, pid, 1000),
	STATE_ROW(FD, struct thing, fd, 0),
	STATE_ROW(FD, struct thing, none, 0),
	STATE_ROW(NUMBER, struct thing, large, UINT64_MAX),
	STATE_ROW(TEXT, struct thing, text, 0),
	STATE_ROW(BYTES, struct thing, bytes, 0),
	STATE_ROW(STRING, struct thing, name, 0),
	STATE_ROW(STRING, struct thing, absent, 0),
	STATE_ROW(BLOB, struct thing, blob, 0),
	STATE_END,
};

static void test_round_trip(void **unused)
{
	char name[] = "a b\n=\xff", bytes[] = "x\0y";
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct thing a = { true, 77, fd, -1, UINT64_MAX, "seven c", { 1, 0, 2 }, name, NULL,
		{ bytes, 3 } };
	struct thing b = { .fd = -1 };
	struct state_out *out = state_begin();
	struct err err;

	(void)unused;
	state_put(out, "thing", rows, &a);
	state_put(out, "other", rows, &a);
	assert_int_equal(state_seal(out, &err), 0);
	state_inherit(out, true);
	assert_int_equal(fcntl(fd, F_GETFD), 0);
	assert_int_equal(fcntl(state_fd(out), F_GETFD), 0);
	struct state_in *in = state_open(dup(state_fd(out)), &err);
	assert_non_null(in);
	assert_true(state_has(in, "thing"));
	assert_false(state_has(in, "thin"));
	assert_int_equal(state_take(in, "other", rows, &b, &err), -1);
	assert_int_equal(state_take(in, "thing", rows, &b, &err), 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_true(b.yes);
	assert_int_equal(b.pid, 77);
	assert_int_equal(b.fd, fd);
	assert_int_equal(b.none, -1);
	assert_int_equal(b.large, UINT64_MAX);
	assert_string_equal(b.text, "seven c");
	assert_memory_equal(b.bytes, a.bytes, 3);
	assert_string_equal(b.name, name);
	assert_null(b.absent);
	assert_int_equal(b.blob.length, 3);
	assert_memory_equal(b.blob.bytes, bytes, 3);
	assert_false(state_close(in)); /* one record is left */
	state_drop(out);
	free(b.name);
	free(b.blob.bytes);
	close(fd);
}

static struct state_in *open_text(const char *text, int seals, struct err *err)
{
	int fd = memfd_create("test", MFD_ALLOW_SEALING);

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	fcntl(fd, F_ADD_SEALS, seals);
	struct state_in *in = state_open(fd, err);
	if (in == NULL)
		close(fd);
	return in;
}

static void test_only_a_state_is_opened(void **unused)
{
	static const char *const bad[] = { "", "nonsense", "preforkd-state", "preforkd-state 1",
		"preforkd-state 99\nend\n", "preforkd-state x\n" };
	struct err err;

	(void)unused;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_null(open_text(bad[i], SEALS, &err));
	assert_null(open_text("preforkd-state 1\nend\n", F_SEAL_SHRINK, &err));
	assert_null(state_open(open("/dev/null", O_RDONLY), &err));
	assert_null(state_open(-1, &err));
	struct state_in *in = open_text("preforkd-state 1\nend\n", SEALS, &err);
	assert_non_null(in);
	assert_true(state_close(in));
}

static int take(const char *line, struct thing *to)
{
	char text[400];
	struct err err;

	snprintf(text, sizeof(text), "preforkd-state 1\n%s\nend\n", line);
	struct state_in *in = open_text(text, SEALS, &err);
	assert_non_null(in);
	int rc = state_take(in, "thing", rows, to, &err);
	state_close(in);
	free(to->name);
	free(to->blob.bytes);
	to->name = NULL;
	to->blob.bytes = NULL;
	return rc;
}

static void test_values_are_checked(void **unused)
{
	static const char *const bad[] = { "thing pid", "thing pid=", "thing pid=1001",
		"thing pid=-1", "thing pid=0x1", "thing yes=2", "thing fd=2", "thing fd=-2",
		"thing fd=99999", "thing fd=", "thing large=18446744073709551616",
		"thing text=6162636465666768", "thing text=6", "thing text=6G", "thing text=AA",
		"thing bytes=01", "thing bytes=01020304", "thing name=a", "thing blob=zz", "thingy",
		"thing  pid=1", "end" };
	struct thing t = { .pid = 5, .fd = -1 };

	(void)unused;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (take(bad[i], &t) == 0)
			fail_msg("taken: %s", bad[i]);
	t.pid = 5;
	assert_int_equal(take("thing later=77 yes=1", &t), 0); /* of a newer version */
	assert_true(t.yes);
	assert_int_equal(t.pid, 5);
	assert_int_equal(take("thing", &t), 0);
}

/* Cut anywhere, it is no whole state. */
static void test_cut(void **unused)
{
	static const char whole[] = "preforkd-state 1\nthing pid=12 text=6162\nend\n";
	struct err err;

	(void)unused;
	for (size_t n = 0; n < sizeof(whole) - 1; n++) {
		char text[sizeof(whole)] = "";
		struct thing t = { .fd = -1 };

		memcpy(text, whole, n);
		struct state_in *in = open_text(text, SEALS, &err);
		if (in == NULL)
			continue;
		(void)state_take(in, "thing", rows, &t, &err);
		assert_false(state_close(in));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_only_a_state_is_opened),
		cmocka_unit_test(test_values_are_checked),
		cmocka_unit_test(test_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
