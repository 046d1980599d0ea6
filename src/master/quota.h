/*
 * quota: how many workers a pool may come to have, and changing that by hand, until the next
 * reload.
 */
#ifndef PREFORKD_QUOTA_H
#define PREFORKD_QUOTA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct generation;
struct pool;

/* Room for slots 1..slots, in the table and, in_process, on the board. */
int quota_make_room(struct pool *pool, unsigned slots, bool in_process, struct err *err);

/* So many workers it can come to want. */
unsigned quota_most(const struct generation *g);

/* One worker more or fewer; never below one, nor beyond MIN and MAX. */
void quota_step(struct pool *pool, int by, uint64_t now);

/* So many workers; in a pool that follows the load so many at most. -1 and *err when that cannot
 * be. */
int quota_set(struct pool *pool, unsigned workers, uint64_t now, struct err *err);

enum quota_progress { QUOTA_UNDERWAY, QUOTA_MET, QUOTA_MISSED };
/* Are there so many workers as were set, all ready, and no others? Says it in a sentence. late:
 * there is no more time for it. */
enum quota_progress quota_progress(
	const struct pool *pool, unsigned workers, bool late, char *text, size_t size);
/* ms that it may take. */
uint64_t quota_patience(const struct pool *pool);
/* That which serves; another one begins as configured. 0: none. */
unsigned quota_generation(const struct pool *pool);

#endif
