/*
 * order: all workers of all pools in one list, as somebody wants to see them.
 */
#ifndef PREFORKD_CTL_ORDER_H
#define PREFORKD_CTL_ORDER_H

#include <stddef.h>

struct figures;
struct figures_pool;
struct figures_worker;

/* What stands first: the longest request, the most processor time of late, ... */
#define ORDER_KEYS(X)           \
	X(TIME, "time")         \
	X(CPU, "cpu")           \
	X(MEMORY, "memory")     \
	X(REQUESTS, "requests") \
	X(POOL, "pool")
#define ORDER_ENUM(name, text) ORDER_##name,
enum order_key { ORDER_KEYS(ORDER_ENUM) ORDER_COUNT };

struct order_row {
	const struct figures_pool *pool;
	const struct figures_worker *worker;
};

const char *order_name(enum order_key key);

/* Owned by the caller; NULL without memory. It points into figures. */
struct order_row *order_rows(const struct figures *figures, enum order_key key, size_t *count);

#endif
