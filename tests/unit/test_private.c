/*
 * private: what it gives is empty, one's own, and not there in a child.
 */
#include "common/private.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT 3000

static const size_t sizes[] = { 1, 64, 65, 1000, 4096, 4097, 1000000 };
#define SIZES (sizeof(sizes) / sizeof(sizes[0]))

static bool is_filled(const unsigned char *memory, size_t size, unsigned char with)
{
	for (size_t i = 0; i < size; i++)
		if (memory[i] != with)
			return false;
	return true;
}

static void test_is_empty_also_when_used_again(void **state)
{
	(void)state;
	for (int round = 0; round < 3; round++)
		for (size_t i = 0; i < SIZES; i++) {
			unsigned char *memory = private_alloc(sizes[i]);

			assert_non_null(memory);
			assert_true(is_filled(memory, sizes[i], 0));
			memset(memory, 0xff, sizes[i]);
			private_free(memory, sizes[i]);
		}
	private_free(NULL, 5);
}

/* Over more than one chunk, and with some given back in between. */
static void test_nobody_else_has_it(void **state)
{
	static unsigned char *blocks[COUNT];

	(void)state;
	for (int i = 0; i < COUNT; i++) {
		blocks[i] = private_alloc(100 + (size_t)i % 300);
		assert_non_null(blocks[i]);
		assert_true((uintptr_t)blocks[i] % sizeof(max_align_t) == 0);
		memset(blocks[i], i % 251, 100 + (size_t)i % 300);
		if (i % 3 != 0)
			continue;
		private_free(blocks[i], 100 + (size_t)i % 300);
		blocks[i] = NULL;
	}
	for (int i = 0; i < COUNT; i++) {
		size_t size = 100 + (size_t)i % 300;

		assert_true(
			blocks[i] == NULL || is_filled(blocks[i], size, (unsigned char)(i % 251)));
		private_free(blocks[i], size);
	}
}

/* write(2) says so of an address that is not there, and nothing breaks. */
static void test_no_child_has_it(void **state)
{
	int pipes[2], status;

	(void)state;
	assert_int_equal(pipe(pipes), 0);
	for (size_t i = 0; i < SIZES; i++) {
		char *memory = private_alloc(sizes[i]);
		pid_t pid = fork();

		if (pid == 0)
			_exit(write(pipes[1], memory, 1) < 0 && errno == EFAULT ? 0 : 1);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
		assert_int_equal(write(pipes[1], memory, 1), 1);
		private_free(memory, sizes[i]);
	}
	close(pipes[0]);
	close(pipes[1]);
}

/* With what was there, and zeros behind it; from nothing, too. */
static void test_grows(void **unused)
{
	char *memory = NULL;
	size_t size = 0;

	(void)unused;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		memory = private_grow(memory, size, sizes[i]);
		assert_non_null(memory);
		for (size_t at = 0; at < sizes[i]; at++)
			assert_int_equal(memory[at], at < size ? 'x' : '\0');
		size = sizes[i];
		memset(memory, 'x', size);
	}
	private_free(memory, size);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_is_empty_also_when_used_again),
		cmocka_unit_test(test_nobody_else_has_it),
		cmocka_unit_test(test_no_child_has_it),
		cmocka_unit_test(test_grows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
