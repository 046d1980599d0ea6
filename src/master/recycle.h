/*
 * recycle: workers that have served long enough (max-requests, max-age, max-memory) are replaced:
 * another is ready before one goes, and few go at a time.
 */
#ifndef PREFORKD_RECYCLE_H
#define PREFORKD_RECYCLE_H

#include <stdbool.h>
#include <stdint.h>

struct board;
struct conf_pool;
struct generation;
struct member;
struct roster;

/* Do the workers of the pool ring when they want to be replaced? */
bool recycle_by_wish(const struct conf_pool *conf);
/* Are they to be weighed? */
bool recycle_by_weight(const struct conf_pool *conf);

/* A new worker: what its own limits are. */
struct recycle_limits {
	uint64_t old_at, max_requests, max_memory; /* UINT64_MAX; 0; 0: no limit */
};
void recycle_draw(const struct conf_pool *conf, uint64_t now, struct recycle_limits *out);

/* Marks workers of the generation that are due as outgoing, so that they no longer count and others
 * are started in their place; retires them when those are ready. begin: new ones may be marked.
 * Returns when it wants to be called next, UINT64_MAX: when something happens. */
uint64_t recycle_follow(const struct roster *roster, const struct generation *g,
	const struct board *board, bool begin, uint64_t now);

#endif
