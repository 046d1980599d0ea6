/*
 * board: layout and both sides of the scoreboard.
 *
 * Each page is a file of its own: mremap(2) and remap_file_pages(2) take whoever has mapped a part
 * to the rest of a file. The master has them all and maps none: with a thousand mappings each
 * fork(2) would take a millisecond longer, and what is read(2) cannot fault.
 */
#include "common/board.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/private.h"

/* A page is the unit of sharing: the system's, where that is larger. */
#define PAGE 4096u
#define CONNECTIONS_MAX 65536u
#define LOOKS 3

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

/* A page: the whole of a file. */
struct place {
	int fd; /* -1: nobody has had it yet */
	struct seen seen;
};

struct board {
	unsigned slots;
	struct place *places; /* by slot; 0 is the application's */
};

/* Asked for once, by the master: its workers need not ask. */
static size_t page_stride(void)
{
	static size_t stride;

	if (stride == 0) {
		long size = sysconf(_SC_PAGESIZE);

		stride = size > (long)PAGE ? (size_t)size : PAGE;
	}
	return stride;
}

/* Its size is for good. */
static int make_page(struct place *place)
{
	*place = (struct place){ .fd = memfd_create(
					 "preforkd-board", MFD_CLOEXEC | MFD_ALLOW_SEALING) };
	if (place->fd < 0)
		return -1;
	if (ftruncate(place->fd, (off_t)page_stride()) == 0 &&
		fcntl(place->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0)
		return 0;
	int reason = errno;
	close(place->fd);
	errno = reason;
	return -1;
}

static void drop_page(struct place *place)
{
	if (place->fd >= 0)
		close(place->fd);
}

static size_t places_size(const struct board *board)
{
	return (board->slots + 1u) * sizeof(*board->places);
}

int board_grow(struct board *board, unsigned slots)
{
	struct place *places;

	if (slots <= board->slots && board->places != NULL)
		return 0;
	places = private_grow(board->places, places_size(board), (slots + 1u) * sizeof(*places));
	if (places == NULL)
		return -1;
	if (board->places == NULL)
		places[0].fd = -1;
	for (unsigned s = board->slots + 1; s <= slots; s++)
		places[s] = (struct place){ .fd = -1 };
	board->places = places;
	board->slots = slots;
	return 0;
}

/* Without a page yet. */
static struct board *new_board(unsigned slots)
{
	struct board *board = calloc(1, sizeof(*board));

	if (board == NULL || board_grow(board, slots) == 0)
		return board;
	free(board);
	return NULL;
}

void board_destroy(struct board *board)
{
	if (board == NULL)
		return;
	for (unsigned s = 0; s <= board->slots; s++)
		drop_page(&board->places[s]);
	private_free(board->places, places_size(board));
	free(board);
}

struct board *board_create(unsigned slots)
{
	struct board *board = new_board(slots);

	if (board == NULL || make_page(&board->places[0]) == 0)
		return board;
	board->places[0].fd = -1;
	board_destroy(board);
	return NULL;
}

unsigned board_slots(const struct board *board)
{
	return board->slots;
}

int board_prepare(struct board *board, unsigned slot)
{
	struct place fresh;

	if (make_page(&fresh) != 0)
		return -1;
	drop_page(&board->places[slot]);
	board->places[slot] = fresh;
	return 0;
}

int board_fd(const struct board *board, unsigned slot)
{
	return slot <= board->slots ? board->places[slot].fd : -1;
}

int board_adopt_page(struct board *board, unsigned slot, int fd)
{
	struct stat st;

	if (slot > board->slots || board->places[slot].fd >= 0 || fstat(fd, &st) != 0 ||
		(size_t)st.st_size < page_stride())
		return -1;
	board->places[slot] = (struct place){ .fd = fd };
	return 0;
}

struct board *board_adopt(int fd, unsigned slots)
{
	struct board *board = new_board(slots);

	if (board == NULL || board_adopt_page(board, 0, fd) == 0)
		return board;
	board_destroy(board);
	return NULL;
}

/* The first bytes of a page, as one sees them who looks twice: the kernel may copy a number in
 * parts while it changes. False: it always changes, and is seen in some way or other. */
static bool look(const struct board *board, unsigned slot, struct board_page *out, size_t size)
{
	char before[sizeof(*out)];
	int fd = board->places[slot].fd;

	memset(out, 0, size);
	(void)!pread(fd, before, size, 0);
	for (int i = 0; i < LOOKS; i++) {
		if (pread(fd, out, size, 0) != (ssize_t)size || memcmp(before, out, size) == 0)
			return true;
		memcpy(before, out, size);
	}
	return false;
}

static uint64_t load(_Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

/* Text that changes under our eyes is not shown. */
void board_read_request(const struct board *board, unsigned slot, struct board_request *out)
{
	struct board_page page;

	bool still = look(board, slot, &page, sizeof(page));
	memcpy(out->method, page.method, sizeof(out->method));
	memcpy(out->path, page.path, sizeof(out->path));
	if (!still || atomic_load_explicit(&page.version, memory_order_relaxed) % 2 != 0)
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
	struct board_page page;

	look(board, slot, &page, offsetof(struct board_page, counters[REQUESTS + 1]));
	uint32_t wish = atomic_load_explicit(&page.wish, memory_order_relaxed);
	out->requests = at_most(load(&page.counters[REQUESTS]), BOARD_MOST);
	out->since = load(&page.since);
	out->busy = out->since != 0;
	out->wish = wish <= BOARD_GOES_NOW ? (enum board_wish)wish : BOARD_STAYS;
}

void board_read_figures(const struct board *board, unsigned slot, struct board_figures *out)
{
	uint64_t *seen = board->places[slot].seen.counters;
	struct board_page page;

	look(board, slot, &page, offsetof(struct board_page, method));
	for (size_t i = 0; i < COUNTERS; i++) {
		uint64_t said = load(&page.counters[i]);

		if (said > seen[i])
			seen[i] = at_most(said, BOARD_MOST);
	}
	out->requests = seen[REQUESTS];
	out->bytes_in = seen[BYTES_IN];
	out->bytes_out = seen[BYTES_OUT];
	out->total_us = seen[TOTAL_US];
	memcpy(out->buckets, &seen[BUCKETS], sizeof(out->buckets));
	out->last_us = at_most(load(&page.last_us), BOARD_MOST);
	out->connections = (unsigned)at_most(
		atomic_load_explicit(&page.connections, memory_order_relaxed), CONNECTIONS_MAX);
}

void board_reopened(const struct board *board)
{
	off_t at = offsetof(struct board_common, reopens);
	uint32_t number = 0;

	(void)!pread(board->places[0].fd, &number, sizeof(number), at);
	number++; /* another one, whatever it was */
	(void)!pwrite(board->places[0].fd, &number, sizeof(number), at);
}

void board_listen(const struct board *board, unsigned slot)
{
	uint32_t yes = 1;

	(void)!pwrite(
		board->places[slot].fd, &yes, sizeof(yes), offsetof(struct board_page, listened));
	atomic_thread_fence(memory_order_seq_cst);
}

int board_sit(int shared_fd, int fd, int bell, struct board_seat *seat)
{
	size_t stride = page_stride();
	void *shared = mmap(NULL, stride, PROT_READ | PROT_WRITE, MAP_SHARED, shared_fd, 0);
	void *own = mmap(NULL, stride, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (shared == MAP_FAILED || own == MAP_FAILED)
		return -1;
	close(shared_fd);
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

/* One writer: the version only tells the reader that it came in between. */
static uint32_t open_text(struct board_page *page)
{
	uint32_t version = atomic_load_explicit(&page->version, memory_order_relaxed) | 1;

	atomic_store_explicit(&page->version, version, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	return version;
}

static void close_text(struct board_page *page, uint32_t version)
{
	atomic_store_explicit(&page->version, version + 1, memory_order_release);
}

void board_begin(const struct board_seat *seat, uint64_t now)
{
	struct board_page *page = seat->page;

	/* The text of the request before must not stand beside the time of this one. */
	uint32_t version = open_text(page);
	page->method[0] = page->path[0] = '\0';
	close_text(page, version);
	atomic_store_explicit(&page->since, now / 1000, memory_order_release);
	/* Who listens and then reads "since" sees it, or we see that somebody listens. */
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&page->listened, memory_order_relaxed) == 0)
		return;
	atomic_store_explicit(&page->listened, 0, memory_order_relaxed);
	ring(seat);
}

void board_describe(const struct board_seat *seat, const struct board_request *request)
{
	struct board_page *page = seat->page;

	uint32_t version = open_text(page);
	memcpy(page->method, request->method, sizeof(page->method));
	memcpy(page->path, request->path, strnlen(request->path, sizeof(page->path) - 1) + 1);
	close_text(page, version);
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
