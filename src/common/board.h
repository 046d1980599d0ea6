/*
 * board: the scoreboard in shared memory, one memfd per page.
 *
 * Page 0 belongs to the application (counters that all workers of the pool share), page N to worker
 * slot N. A worker maps page 0 and its own page and closes both; the master reads all. The
 * pages hold counters and a state, no pointers, lengths or locks: a hostile worker can only lie
 * about itself and spoil the application's own counters. What is read is clamped.
 */
#ifndef PREFORKD_BOARD_H
#define PREFORKD_BOARD_H

#include <stdbool.h>
#include <stdint.h>

#define BOARD_LAYOUT 3u /* of the pages: another number when another version cannot read them */
#define BOARD_SHARED_CELLS 8
#define BOARD_METHOD 16 /* bytes, with the NUL */
#define BOARD_PATH 256
#define BOARD_BUCKETS 19 /* of the latency histogram */

struct board; /* the master's side */

/* Slots are numbered from 1. -1 and errno on failure. */
struct board *board_create(unsigned slots);
int board_grow(struct board *board, unsigned slots);
unsigned board_slots(const struct board *board);
void board_destroy(struct board *board);

/* A page that is new, and empty, for the next worker in this slot: whoever still has the one before
 * cannot reach it. Nothing else may be asked of a slot without a page. */
int board_prepare(struct board *board, unsigned slot);
/* That of a slot's page, 0 for the application's; -1: there is none. */
int board_fd(const struct board *board, unsigned slot);

/* One that was made by an earlier image of this process: page 0, and those of the slots. Both take
 * over fd, if they succeed. */
struct board *board_adopt(int fd, unsigned slots);
int board_adopt_page(struct board *board, unsigned slot, int fd);

/* Whether a worker wants to be replaced, because of max-requests or max-memory. */
enum board_wish {
	BOARD_STAYS,
	BOARD_GOES_SOON, /* it is near its limit, and serves on */
	BOARD_GOES_NOW, /* at its limit: it takes no request any more, and waits to be told to go */
};

/* What one worker says of itself. */
struct board_worker {
	uint64_t requests;
	bool busy;
	uint64_t since; /* ms, CLOCK_MONOTONIC: begin of the request in hand; 0: none */
	enum board_wish wish;
};
void board_read(const struct board *board, unsigned slot, struct board_worker *out);

/* What it has counted since it was started; whatever it writes, none of the counters goes back
 * until board_prepare(), or exceeds BOARD_MOST, and a sum of theirs should saturate. Bytes are the
 * content of records: of parameters and body, and of the answer. */
#define BOARD_MOST (UINT64_C(1) << 53)
struct board_figures {
	uint64_t requests, bytes_in, bytes_out;
	uint64_t total_us;               /* that its requests took, together */
	uint64_t buckets[BOARD_BUCKETS]; /* requests by the time they took; not cumulative */
	uint64_t last_us;                /* that the last one took; not a counter */
	unsigned connections;            /* it holds now, with that of the request in hand */
};
void board_read_figures(const struct board *board, unsigned slot, struct board_figures *out);
/* The most microseconds of a bucket, in their order; the last bucket has no bound. */
extern const uint64_t board_bounds_us[BOARD_BUCKETS - 1];

/* Its request in hand. Foreign bytes: escape what goes into a log or a page. */
struct board_request {
	char method[BOARD_METHOD]; /* empty where it is not known yet */
	char path[BOARD_PATH];     /* without the query; cut if it is longer */
};
void board_read_request(const struct board *board, unsigned slot, struct board_request *out);

/* The access log is another file from now on: all workers of the pool see that. */
void board_reopened(const struct board *board);

/* The worker in this slot is to ring the bell when it next begins a request; once. One that has
 * begun before is seen by board_read() after this. */
void board_listen(const struct board *board, unsigned slot);

/* The worker's side: maps page 0 and its own, and closes both descriptors. bell: an eventfd(2) that
 * wakes the master; non-blocking. -1 and errno on failure. */
struct board_seat {
	struct board_page *page;
	struct board_common *common;
	uint64_t *shared; /* BOARD_SHARED_CELLS cells */
	int bell;
};
int board_sit(int shared_fd, int fd, int bell, struct board_seat *seat);
/* A request begins; now: us of CLOCK_MONOTONIC. The master may kill for it from now on. */
void board_begin(const struct board_seat *seat, uint64_t now);
/* Its head has been read. Any bytes, with a NUL behind them. */
void board_describe(const struct board_seat *seat, const struct board_request *request);
/* It has been answered. */
struct board_answer {
	uint64_t us, bytes_in, bytes_out;
};
void board_end(const struct board_seat *seat, const struct board_answer *answer);
/* So many connections are open. */
void board_hold(const struct board_seat *seat, unsigned connections);
/* Another number than before: the access log is another file. */
uint32_t board_reopens(const struct board_seat *seat);
/* A line of it could not be written, or not whole. */
void board_lost_line(const struct board_seat *seat);
/* For one worker after that: the file may end in the middle of a line, it is to end that. */
bool board_mends_line(const struct board_seat *seat);
/* None can be. True for one worker of the pool, until board_log_works(): it is to say so. */
bool board_log_fails(const struct board_seat *seat);
/* One was written. For one worker after board_log_fails(): so many were lost; else 0. */
uint64_t board_log_works(const struct board_seat *seat);
/* Says it once for each change, and wakes the master. */
void board_set_wish(const struct board_seat *seat, enum board_wish wish);

#endif
