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
#include <stdbool.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/board.h"

#define SLOT 2

struct both {
	struct board *board;
	struct board_seat seat;
	int bell;
};

static const struct board_answer short_one = { .us = 1 };

/* A new worker takes the seat. */
static void sit_again(struct both *b)
{
	assert_int_equal(board_prepare(b->board, SLOT), 0);
	assert_int_equal(board_sit(dup(board_fd(b->board, 0)), dup(board_fd(b->board, SLOT)),
				 b->bell, &b->seat),
		0);
}

static struct both open_both(void)
{
	struct both b = { .board = board_create(3),
		.bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };

	assert_non_null(b.board);
	assert_int_equal(board_prepare(b.board, SLOT - 1), 0);
	sit_again(&b);
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
	board_begin(&b.seat, 1000);
	board_end(&b.seat, &short_one);
	assert_false(has_rung(&b));
	board_listen(b.board, SLOT);
	board_begin(&b.seat, 1000);
	assert_true(has_rung(&b));
	board_end(&b.seat, &short_one);
	board_begin(&b.seat, 1000);
	assert_false(has_rung(&b));
	close_both(&b);
}

static void answer(const struct both *b, uint64_t us, uint64_t in, uint64_t out)
{
	const struct board_answer said = { .us = us, .bytes_in = in, .bytes_out = out };

	board_begin(&b->seat, 5000);
	board_end(&b->seat, &said);
}

static struct board_figures figures_of(const struct both *b)
{
	struct board_figures f;

	board_read_figures(b->board, SLOT, &f);
	return f;
}

/* A bound belongs to its bucket; what is above all belongs to the last. */
static void test_figures_add_up(void **unused)
{
	struct both b = open_both();
	struct board_figures f = figures_of(&b);
	uint64_t total = 0;

	(void)unused;
	assert_true(f.requests == 0 && f.last_us == 0 && f.connections == 0);
	for (size_t i = 0; i < BOARD_BUCKETS - 1; i++) {
		assert_true(i == 0 || board_bounds_us[i] > board_bounds_us[i - 1]);
		answer(&b, board_bounds_us[i], 3, 5);
		answer(&b, board_bounds_us[i] + 1, 0, 0);
		total += 2 * board_bounds_us[i] + 1;
	}
	answer(&b, 0, 0, 0);
	answer(&b, 123456789, 0, 0);
	board_hold(&b.seat, 7);
	f = figures_of(&b);
	assert_true(f.requests == 2 * BOARD_BUCKETS);
	for (size_t i = 0; i < BOARD_BUCKETS; i++)
		assert_int_equal(f.buckets[i], 2);
	assert_true(f.total_us == total + 123456789 && f.last_us == 123456789);
	assert_true(
		f.bytes_in == 3 * (BOARD_BUCKETS - 1) && f.bytes_out == 5 * (BOARD_BUCKETS - 1));
	assert_int_equal(f.connections, 7);
	close_both(&b);
}

static void test_request_in_hand(void **unused)
{
	struct both b = open_both();
	struct board_worker said;
	struct board_request text;

	(void)unused;
	board_begin(&b.seat, 5999);
	board_describe(&b.seat, &(struct board_request){ "GET", "/path" });
	board_read(b.board, SLOT, &said);
	board_read_request(b.board, SLOT, &text);
	assert_true(said.busy && said.since == 5 && said.requests == 0);
	assert_string_equal(text.method, "GET");
	assert_string_equal(text.path, "/path");
	board_end(&b.seat, &short_one);
	board_read(b.board, SLOT, &said);
	assert_true(!said.busy && said.since == 0 && said.requests == 1);
	close_both(&b);
}

static bool within(const struct board_figures *f)
{
	for (size_t i = 0; i < BOARD_BUCKETS; i++)
		if (f->buckets[i] > BOARD_MOST)
			return false;
	return f->requests <= BOARD_MOST && f->bytes_in <= BOARD_MOST &&
	       f->bytes_out <= BOARD_MOST && f->total_us <= BOARD_MOST &&
	       f->last_us <= BOARD_MOST && f->connections <= 65536;
}

/* None of the counters is less than before. */
static bool follows(const struct board_figures *f, const struct board_figures *before)
{
	for (size_t i = 0; i < BOARD_BUCKETS; i++)
		if (f->buckets[i] < before->buckets[i])
			return false;
	return f->requests >= before->requests && f->bytes_in >= before->bytes_in &&
	       f->bytes_out >= before->bytes_out && f->total_us >= before->total_us;
}

/* A worker that writes what it likes into its page: only its own figures are odd, and within
 * bounds. The next one in its place begins anew. */
static void test_hostile_page(void **unused)
{
	struct both b = open_both();
	struct board_figures before, f, other;
	unsigned char *page = (unsigned char *)b.seat.page;
	uint32_t random = 1;

	(void)unused;
	answer(&b, 7, 8, 9);
	before = figures_of(&b);
	memset(page, 0, 4096);
	f = figures_of(&b);
	assert_true(follows(&f, &before) && f.requests == 1);
	for (int round = 0; round < 2000; round++) {
		for (size_t i = 0; i < 1024; i++) {
			random = random * 1664525 + 1013904223;
			page[i] = round % 3 == 0 ? 0xff : (unsigned char)(random >> 24);
		}
		before = f;
		f = figures_of(&b);
		assert_true(within(&f) && follows(&f, &before));
	}
	board_read_figures(b.board, SLOT - 1, &other);
	assert_true(other.requests == 0 && other.total_us == 0);
	sit_again(&b);
	memset(page, 0xff, 4096); /* it goes on */
	f = figures_of(&b);
	assert_true(f.requests == 0 && f.buckets[0] == 0 && f.connections == 0);
	close_both(&b);
}

static void test_figures_survive_growth_and_adoption(void **unused)
{
	struct both b = open_both();
	struct board_figures f;

	(void)unused;
	answer(&b, 7, 8, 9);
	assert_int_equal(figures_of(&b).requests, 1);
	assert_int_equal(board_grow(b.board, 200), 0);
	assert_int_equal(board_fd(b.board, 200), -1);
	assert_int_equal(board_prepare(b.board, 200), 0);
	board_read_figures(b.board, 200, &f);
	assert_true(f.requests == 0 && figures_of(&b).bytes_in == 8);
	struct board *next = board_adopt(dup(board_fd(b.board, 0)), 200);
	assert_non_null(next);
	assert_int_equal(board_adopt_page(next, SLOT, dup(board_fd(b.board, SLOT))), 0);
	assert_int_equal(board_adopt_page(next, SLOT, dup(board_fd(b.board, SLOT))), -1);
	assert_int_equal(board_adopt_page(next, 201, 0), -1);
	board_read_figures(next, SLOT, &f);
	assert_true(f.requests == 1 && f.bytes_out == 9);
	board_destroy(next);
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
		board_begin(&shared.seat, 1000);
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
		board_end(&shared.seat, &short_one);
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
		cmocka_unit_test(test_figures_add_up),
		cmocka_unit_test(test_request_in_hand),
		cmocka_unit_test(test_hostile_page),
		cmocka_unit_test(test_figures_survive_growth_and_adoption),
		cmocka_unit_test(test_no_ring_is_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
