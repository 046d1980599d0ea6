/*
 * board: the scoreboard in shared memory, one memfd per pool.
 *
 * Page 0 belongs to the application (counters that all workers of the pool share), page N to worker
 * slot N. A worker maps page 0 and its own page and closes the memfd; the master maps all. The
 * pages hold counters and a state, no pointers, lengths or locks: a hostile worker can only lie
 * about itself and spoil the application's own counters. Everything is read once and clamped.
 */
#ifndef PREFORKD_BOARD_H
#define PREFORKD_BOARD_H

#include <stdbool.h>
#include <stdint.h>

#define BOARD_LAYOUT 1u /* of the pages: another number when another version cannot read them */
#define BOARD_SHARED_CELLS 8
#define BOARD_METHOD 16 /* bytes, with the NUL */
#define BOARD_PATH 256

struct board; /* the master's side */

/* Slots are numbered from 1. -1 and errno on failure. */
struct board *board_create(unsigned slots);
int board_grow(struct board *board, unsigned slots);
int board_fd(const struct board *board);
unsigned board_slots(const struct board *board);
/* One that was made by an earlier image of this process. Takes over fd. */
struct board *board_adopt(int fd, unsigned slots);
void board_destroy(struct board *board);

/* Clears a slot's page before a new worker gets it. */
void board_clear(struct board *board, unsigned slot);

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

/* Its request in hand. Foreign bytes: escape what goes into a log or a page. */
struct board_request {
	char method[BOARD_METHOD]; /* empty where it is not known yet */
	char path[BOARD_PATH];     /* without the query; cut if it is longer */
};
void board_read_request(const struct board *board, unsigned slot, struct board_request *out);

/* The worker in this slot is to ring the bell when it next begins a request; once. One that has
 * begun before is seen by board_read() after this. */
void board_listen(const struct board *board, unsigned slot);

/* The worker's side: maps page 0 and the page of its slot and closes fd. bell: an eventfd(2) that
 * wakes the master; non-blocking. -1 and errno on failure. */
struct board_seat {
	struct board_page *page;
	uint64_t *shared; /* BOARD_SHARED_CELLS cells */
	int bell;
};
int board_sit(int fd, unsigned slot, int bell, struct board_seat *seat);
/* A request begins, at its first byte: the master may kill for it from now on. */
void board_begin(const struct board_seat *seat);
/* Its head has been read. Any bytes without NUL; path ends before the query. */
void board_describe(const struct board_seat *seat, const char *method, const char *path);
/* answered: the request counts; else the connection ended before there was one. */
void board_end(const struct board_seat *seat, bool answered);
/* Says it once for each change, and wakes the master. */
void board_set_wish(const struct board_seat *seat, enum board_wish wish);

#endif
