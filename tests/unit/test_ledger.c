/* ledger: what one side writes the other reads, and cannot write. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above */
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/ledger.h"

static void fill(struct ledger *l, const struct ledger_counts *c, unsigned seed)
{
	assert_int_equal(ledger_begin(l, c), 0);
	ledger_daemon(l)->pid = (int32_t)seed;
	for (uint32_t i = 0; i < c->pools; i++)
		snprintf(ledger_pool(l, i)->name, 40, "pool %u", seed + i);
	for (uint32_t i = 0; i < c->listeners; i++)
		ledger_listener(l, i)->queue = seed + i;
	for (uint32_t i = 0; i < c->workers; i++)
		ledger_worker(l, i)->slot = seed + i;
	for (uint32_t i = 0; i < c->events; i++)
		ledger_event(l, i)->at = seed + i;
}

static void compare(const struct ledger *l, const struct ledger_counts *c, unsigned seed)
{
	char name[40];

	assert_memory_equal(ledger_counts(l), c, sizeof(*c));
	assert_int_equal(ledger_daemon(l)->pid, seed);
	for (uint32_t i = 0; i < c->pools; i++) {
		snprintf(name, sizeof(name), "pool %u", seed + i);
		assert_string_equal(ledger_pool(l, i)->name, name);
		assert_int_equal(ledger_pool(l, i)->busy, 0);
	}
	for (uint32_t i = 0; i < c->listeners; i++)
		assert_int_equal(ledger_listener(l, i)->queue, seed + i);
	for (uint32_t i = 0; i < c->workers; i++)
		assert_int_equal(ledger_worker(l, i)->slot, seed + i);
	for (uint32_t i = 0; i < c->events; i++)
		assert_int_equal(ledger_event(l, i)->at, seed + i);
}

static void test_grows_and_shrinks(void **unused)
{
	static const struct ledger_counts counts[] = { { 1, 1, 4, 2 }, { 3, 5, 2000, 64 },
		{ 1, 0, 0, 0 }, { 40, 80, 9000, 64 }, { 2, 2, 8, 3 } };
	struct ledger *writer = ledger_create(), *reader;

	(void)unused;
	assert_non_null(writer);
	reader = ledger_open(dup(ledger_fd(writer)));
	assert_non_null(reader);
	for (unsigned i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		fill(writer, &counts[i], 100 * i + 1);
		assert_int_equal(ledger_refresh(reader), 0);
		compare(reader, &counts[i], 100 * i + 1);
	}
	ledger_close(reader);
	ledger_close(writer);
}

static void test_cannot_be_written(void **unused)
{
	struct ledger *writer = ledger_create();
	int fd = ledger_fd(writer);

	(void)unused;
	assert_ptr_equal(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
	assert_int_equal(pwrite(fd, "x", 1, 0), -1);
	assert_int_equal(ftruncate(fd, 0), -1);
	void *map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(map, MAP_FAILED);
	assert_int_equal(mprotect(map, 4096, PROT_READ | PROT_WRITE), -1);
	munmap(map, 4096);
	ledger_close(writer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_grows_and_shrinks),
		cmocka_unit_test(test_cannot_be_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
