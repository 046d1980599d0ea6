/*
 * board: layout and both sides of the scoreboard.
 *
 * The master's mapping is not inherited by workers (MADV_DONTFORK), and the memfd is sealed against
 * shrinking, so that nothing a worker does can make the master's reads fault.
 */
#include "common/board.h"

#include <assert.h>
#include <bsd/string.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* A page is the unit of sharing: the system's, where that is larger. */
#define PAGE 4096u
#define CONNECTIONS_MAX 65536u

/* Fine where an application in memory answers, and then as people and alerts look at it. */
const uint64_t board_bounds_us[BOARD_BUCKETS - 1] = { 50, 100, 250, 500, 1000, 2500, 5000, 10000,
	25000, 50000, 100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000, 30000000 };

enum counter { REQUESTS, BYTES_IN, BYTES_OUT, TOTAL_US, BUCKETS };
#define COUNTERS (BUCKETS + BOARD_BUCKETS)

/* Written by its worker, but for "listened", which the master sets and the worker clears. */
struct board_page {
	_Atomic uint64_t since; /* ms; 0: no request in hand */
	_Atomic uint32_t wish;
	_Atomic uint32_t listened;
	_Atomic uint32_t version; /* of the text; odd while it is written */
	_Atomic uint32_t connections;
	_Atomic uint64_t last_us;
	_Atomic uint64_t counters[COUNTERS]; /* by enum counter; buckets from BUCKETS on */
	char method[BOARD_METHOD], path[BOARD_PATH];
};
static_assert(sizeof(struct board_page) <= PAGE, "it is one page");

/* Page 0: the application's cells, and what the pool's workers have in common. */
struct board_common {
	uint64_t cells[BOARD_SHARED_CELLS];
	_Atomic uint32_t reopens; /* of the access log; counted by the master */
	_Atomic uint32_t failing; /* it cannot be written, and somebody has said so */
	_Atomic uint64_t lost;    /* lines of it that nobody has told of */
	_Atomic uint32_t cut;     /* the file may end in the middle of a line */
};
static_assert(sizeof(struct board_common) <= PAGE, "it is one page");

/* The most that a worker has said, for whoever reads it the next time. */
struct seen {
	uint64_t counters[COUNTERS];
};

struct board {
	int fd;
	unsigned slots;
	size_t stride; /* the system's page size */
	char *map;
	struct seen *seen; /* by slot */
};

static size_t page_stride(void)
{
	long size = sysconf(_SC_PAGESIZE);

	return size > (long)PAGE ? (size_t)size : PAGE;
}

static size_t map_size(const struct board *board)
{
	return (board->slots + 1u) * board->stride;
}

/* Only the master maps it all: what it reads cannot be taken away, and no worker inherits it. */
static int map_all(struct board *board)
{
	if (fcntl(board->fd, F_ADD_SEALS, F_SEAL_SHRINK) != 0)
		return -1;
	board->map = mmap(NULL, map_size(board), PROT_READ | PROT_WRITE, MAP_SHARED, board->fd, 0);
	if (board->map == MAP_FAILED)
		return -1;
	if (madvise(board->map, map_size(board), MADV_DONTFORK) == 0)
		return 0;
	munmap(board->map, map_size(board));
	return -1;
}

/* Without a descriptor yet. */
static struct board *new_board(unsigned slots)
{
	struct board *board = calloc(1, sizeof(*board));

	if (board == NULL)
		return NULL;
	board->slots = slots;
	board->stride = page_stride();
	board->seen = calloc(slots + 1u, sizeof(*board->seen));
	if (board->seen != NULL)
		return board;
	free(board);
	return NULL;
}

static void free_board(struct board *board)
{
	free(board->seen);
	free(board);
}

struct board *board_create(unsigned slots)
{
	struct board *board = new_board(slots);

	if (board == NULL)
		return NULL;
	board->fd = memfd_create("preforkd-board", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (board->fd >= 0 && ftruncate(board->fd, (off_t)map_size(board)) == 0 &&
		map_all(board) == 0)
		return board;
	if (board->fd >= 0)
		close(board->fd);
	free_board(board);
	return NULL;
}

unsigned board_slots(const struct board *board)
{
	return board->slots;
}

struct board *board_adopt(int fd, unsigned slots)
{
	struct board *board = new_board(slots);
	struct stat st;

	if (board == NULL)
		return NULL;
	board->fd = fd;
	if (fstat(fd, &st) == 0 && (size_t)st.st_size >= map_size(board) && map_all(board) == 0)
		return board;
	free_board(board);
	return NULL;
}

int board_grow(struct board *board, unsigned slots)
{
	struct board larger = *board;

	if (slots <= board->slots)
		return 0;
	larger.slots = slots;
	larger.seen = reallocarray(board->seen, slots + 1u, sizeof(*board->seen));
	if (larger.seen == NULL)
		return -1;
	board->seen = larger.seen;
	memset(board->seen + board->slots + 1, 0, (slots - board->slots) * sizeof(*board->seen));
	if (ftruncate(board->fd, (off_t)map_size(&larger)) != 0)
		return -1;
	larger.map = mremap(board->map, map_size(board), map_size(&larger), MREMAP_MAYMOVE);
	if (larger.map == MAP_FAILED)
		return -1;
	*board = larger;
	return madvise(board->map, map_size(board), MADV_DONTFORK);
}

int board_fd(const struct board *board)
{
	return board->fd;
}

void board_destroy(struct board *board)
{
	if (board == NULL)
		return;
	munmap(board->map, map_size(board));
	close(board->fd);
	free_board(board);
}

static struct board_page *page_of(const struct board *board, unsigned slot)
{
	return (struct board_page *)(void *)(board->map + slot * board->stride);
}

void board_clear(struct board *board, unsigned slot)
{
	memset(page_of(board, slot), 0, board->stride);
	memset(&board->seen[slot], 0, sizeof(board->seen[slot]));
}

/* Text that changes under our eyes is not shown. */
void board_read_request(const struct board *board, unsigned slot, struct board_request *out)
{
	struct board_page *page = page_of(board, slot);
	uint32_t before = atomic_load_explicit(&page->version, memory_order_acquire);

	memcpy(out->method, page->method, sizeof(out->method));
	memcpy(out->path, page->path, sizeof(out->path));
	atomic_thread_fence(memory_order_acquire);
	if (before % 2 != 0 || atomic_load_explicit(&page->version, memory_order_relaxed) != before)
		out->method[0] = out->path[0] = '\0';
	out->method[sizeof(out->method) - 1] = '\0';
	out->path[sizeof(out->path) - 1] = '\0';
}

static uint64_t at_most(uint64_t number, uint64_t most)
{
	return number < most ? number : most;
}

void board_read(const struct board *board, unsigned slot, struct board_worker *out)
{
	struct board_page *page = page_of(board, slot);
	uint32_t wish = atomic_load_explicit(&page->wish, memory_order_relaxed);

	out->requests = at_most(
		atomic_load_explicit(&page->counters[REQUESTS], memory_order_relaxed), BOARD_MOST);
	out->since = atomic_load_explicit(&page->since, memory_order_acquire);
	out->busy = out->since != 0;
	out->wish = wish <= BOARD_GOES_NOW ? (enum board_wish)wish : BOARD_STAYS;
}

void board_read_figures(const struct board *board, unsigned slot, struct board_figures *out)
{
	struct board_page *page = page_of(board, slot);
	uint64_t *seen = board->seen[slot].counters;

	for (size_t i = 0; i < COUNTERS; i++) {
		uint64_t said = atomic_load_explicit(&page->counters[i], memory_order_relaxed);

		if (said > seen[i])
			seen[i] = at_most(said, BOARD_MOST);
	}
	out->requests = seen[REQUESTS];
	out->bytes_in = seen[BYTES_IN];
	out->bytes_out = seen[BYTES_OUT];
	out->total_us = seen[TOTAL_US];
	memcpy(out->buckets, &seen[BUCKETS], sizeof(out->buckets));
	out->last_us =
		at_most(atomic_load_explicit(&page->last_us, memory_order_relaxed), BOARD_MOST);
	out->connections = (unsigned)at_most(
		atomic_load_explicit(&page->connections, memory_order_relaxed), CONNECTIONS_MAX);
}

void board_reopened(const struct board *board)
{
	struct board_common *common = (struct board_common *)(void *)board->map;

	atomic_fetch_add(&common->reopens, 1);
}

void board_listen(const struct board *board, unsigned slot)
{
	atomic_store_explicit(&page_of(board, slot)->listened, 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_seq_cst);
}

int board_sit(int fd, unsigned slot, int bell, struct board_seat *seat)
{
	size_t stride = page_stride();
	void *shared = mmap(NULL, stride, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	void *own =
		mmap(NULL, stride, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)(slot * stride));

	if (shared == MAP_FAILED || own == MAP_FAILED)
		return -1;
	close(fd);
	seat->common = shared;
	seat->shared = seat->common->cells;
	seat->page = own;
	seat->bell = bell;
	return 0;
}

static void ring(const struct board_seat *seat)
{
	uint64_t once = 1;

	(void)!write(seat->bell, &once, sizeof(once)); /* full: it has rung long enough */
}

void board_begin(const struct board_seat *seat, uint64_t now)
{
	struct board_page *page = seat->page;

	/* The text of the request before must not stand beside the time of this one. */
	if (page->method[0] != '\0')
		board_describe(seat, "", "");
	atomic_store_explicit(&page->since, now / 1000, memory_order_release);
	/* Who listens and then reads "since" sees it, or we see that somebody listens. */
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&page->listened, memory_order_relaxed) == 0)
		return;
	atomic_store_explicit(&page->listened, 0, memory_order_relaxed);
	ring(seat);
}

/* One writer: the version only tells the reader that it came in between. */
void board_describe(const struct board_seat *seat, const char *method, const char *path)
{
	struct board_page *page = seat->page;
	uint32_t version = atomic_load_explicit(&page->version, memory_order_relaxed);

	atomic_store_explicit(&page->version, version | 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	strlcpy(page->method, method, sizeof(page->method));
	strlcpy(page->path, path, sizeof(page->path));
	atomic_store_explicit(&page->version, (version | 1) + 1, memory_order_release);
}

/* One writer only, so a load and a store are enough: no locked instruction for a counter. */
static void count(struct board_page *page, size_t counter, uint64_t more)
{
	_Atomic uint64_t *at = &page->counters[counter];

	atomic_store_explicit(
		at, atomic_load_explicit(at, memory_order_relaxed) + more, memory_order_relaxed);
}

static size_t bucket_of(uint64_t us)
{
	size_t i = 0;

	while (i < BOARD_BUCKETS - 1 && us > board_bounds_us[i])
		i++;
	return i;
}

void board_end(const struct board_seat *seat, const struct board_answer *answer)
{
	struct board_page *page = seat->page;

	count(page, REQUESTS, 1);
	count(page, BYTES_IN, answer->bytes_in);
	count(page, BYTES_OUT, answer->bytes_out);
	count(page, TOTAL_US, answer->us);
	count(page, BUCKETS + bucket_of(answer->us), 1);
	atomic_store_explicit(&page->last_us, answer->us, memory_order_relaxed);
	atomic_store_explicit(&page->since, 0, memory_order_release);
}

void board_hold(const struct board_seat *seat, unsigned connections)
{
	atomic_store_explicit(&seat->page->connections, connections, memory_order_relaxed);
}

uint32_t board_reopens(const struct board_seat *seat)
{
	return atomic_load(&seat->common->reopens);
}

void board_lost_line(const struct board_seat *seat)
{
	atomic_fetch_add(&seat->common->lost, 1);
	atomic_store(&seat->common->cut, 1);
}

bool board_mends_line(const struct board_seat *seat)
{
	return atomic_load_explicit(&seat->common->cut, memory_order_relaxed) != 0 &&
	       atomic_exchange(&seat->common->cut, 0) != 0;
}

bool board_log_fails(const struct board_seat *seat)
{
	return atomic_exchange(&seat->common->failing, 1) == 0;
}

uint64_t board_log_works(const struct board_seat *seat)
{
	if (atomic_load_explicit(&seat->common->failing, memory_order_relaxed) == 0 ||
		atomic_exchange(&seat->common->failing, 0) == 0)
		return 0;
	return atomic_exchange(&seat->common->lost, 0);
}

void board_set_wish(const struct board_seat *seat, enum board_wish wish)
{
	if (atomic_load_explicit(&seat->page->wish, memory_order_relaxed) == (uint32_t)wish)
		return;
	atomic_store_explicit(&seat->page->wish, (uint32_t)wish, memory_order_release);
	ring(seat);
}
