/* The scoreboard from both sides, in one process: what a worker writes and what the master reads.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/board.h"

#define SLOT 2

struct both {
	struct board *board;
	struct board_seat seat;
	int bell;
};

static struct both open_both(void)
{
	struct both b = { .board = board_create(3),
		.bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };

	assert_non_null(b.board);
	assert_int_equal(board_sit(dup(board_fd(b.board)), SLOT, b.bell, &b.seat), 0);
	return b;
}

static void close_both(struct both *b)
{
	board_destroy(b->board);
	close(b->bell);
}

static bool has_rung(const struct both *b)
{
	uint64_t times;

	return read(b->bell, &times, sizeof(times)) == sizeof(times);
}

static void test_bell_rings_once(void **unused)
{
	struct both b = open_both();

	(void)unused;
	board_begin(&b.seat);
	board_end(&b.seat, true);
	assert_false(has_rung(&b));
	board_listen(b.board, SLOT);
	board_begin(&b.seat);
	assert_true(has_rung(&b));
	board_end(&b.seat, true);
	board_begin(&b.seat);
	assert_false(has_rung(&b));
	close_both(&b);
}

#define ROUNDS 20000

/* Both run at the same moment, or not at all: where there is one processor, by turns. */
static void wait_until(atomic_uint *what, unsigned value)
{
	for (unsigned n = 1; atomic_load(what) != value; n++)
		if (n % 4096 == 0)
			sched_yield();
}

static struct both shared;
static atomic_uint turn; /* odd: both may go; even: the master looks what came of it */
static atomic_uint finished;

static void *begin_often(void *unused)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		wait_until(&turn, 2 * i + 1);
		board_begin(&shared.seat);
		atomic_fetch_add(&finished, 1);
	}
	return unused;
}

/* Whoever begins while the master starts to listen: it is seen, or it rings. */
static void test_no_ring_is_lost(void **unused)
{
	struct board_worker said;
	pthread_t worker;
	unsigned lost = 0;

	(void)unused;
	shared = open_both();
	assert_int_equal(pthread_create(&worker, NULL, begin_often, NULL), 0);
	for (unsigned i = 0; i < ROUNDS; i++) {
		atomic_store(&turn, 2 * i + 1);
		for (volatile unsigned wait = 0; wait < i % 500; wait++)
			;
		board_listen(shared.board, SLOT);
		board_read(shared.board, SLOT, &said);
		wait_until(&finished, i + 1);
		if (!has_rung(&shared) && !said.busy)
			lost++;
		board_end(&shared.seat, true);
		board_clear(shared.board, SLOT);
		atomic_store(&turn, 2 * i + 2);
	}
	pthread_join(worker, NULL);
	close_both(&shared);
	assert_int_equal(lost, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bell_rings_once),
		cmocka_unit_test(test_no_ring_is_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
