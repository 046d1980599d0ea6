/*
 * crowd: all connections of a worker that are not being served, and when their patience ends.
 *
 * Three lists, each in the order of its deadlines: kept ones without a request, those whose head is
 * not whole, and those that still have to read an answer. All in a list have the same time, but a
 * head that a sibling has begun to read has what is left of it. A fourth is the queue of those that
 * have something to read: they have no deadline, since each has its turn. Makes no system call.
 */
#ifndef PREFORKD_CROWD_H
#define PREFORKD_CROWD_H

#include <stdbool.h>
#include <stdint.h>

#include "worker/conn.h"

TAILQ_HEAD(crowd_list, conn);

struct crowd {
	struct crowd_list lists[CONN_LISTS];
	uint64_t patience[CONN_LISTS]; /* ms; 0: no end */
	struct conn **by_fd;
	size_t by_fd_room;
	unsigned count;
};

void crowd_init(struct crowd *crowd, uint64_t head_ms, uint64_t kept_ms);

/* Puts it in a list, by its deadline; one that is in it already stays where it is. False: no
 * memory. */
bool crowd_put(struct crowd *crowd, struct conn *c, enum conn_list list, uint64_t now);
/* Not in any list any more; now the caller's. */
void crowd_take(struct crowd *crowd, struct conn *c);
/* NULL: the descriptor is none of ours. */
struct conn *crowd_find(const struct crowd *crowd, int fd);

/* The first of a list, which is the oldest; NULL: it is empty. */
struct conn *crowd_first(const struct crowd *crowd, enum conn_list list);
/* The one that goes when there are too many: the oldest of those that are not known to have a whole
 * head; where all wait for their turn, the one that is behind all others. NULL: none. */
struct conn *crowd_victim(const struct crowd *crowd);
/* One whose time is over, or NULL. */
struct conn *crowd_expired(const struct crowd *crowd, uint64_t now);
/* ms until there is one; -1: never. */
int crowd_wait(const struct crowd *crowd, uint64_t now);

#endif
