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

#define BOARD_SHARED_CELLS 8

struct board; /* the master's side */

/* Slots are numbered from 1. -1 and errno on failure. */
struct board *board_create(unsigned slots);
int board_grow(struct board *board, unsigned slots);
int board_fd(const struct board *board);
void board_destroy(struct board *board);

/* Clears a slot's page before a new worker gets it. */
void board_clear(struct board *board, unsigned slot);

/* What one worker says of itself. */
struct board_worker {
	uint64_t requests;
	bool busy;
};
void board_read(const struct board *board, unsigned slot, struct board_worker *out);

/* The worker's side: maps page 0 and the page of its slot and closes fd. -1 and errno on failure.
 */
struct board_seat {
	struct board_page *page;
	uint64_t *shared; /* BOARD_SHARED_CELLS cells */
};
int board_sit(int fd, unsigned slot, struct board_seat *seat);
void board_begin(const struct board_seat *seat);
/* answered: the request counts; else the connection ended before there was one. */
void board_end(const struct board_seat *seat, bool answered);

#endif
