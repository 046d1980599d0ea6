/*
 * order: one comparison for each key; what is equal stands by pool and slot, so that nothing jumps.
 */
#include "ctl/order.h"

#include <stdlib.h>
#include <string.h>

#include "ctl/figures.h"

const char *order_name(enum order_key key)
{
#define NAME(name, text) [ORDER_##name] = (text),
	static const char *const names[] = { ORDER_KEYS(NAME) };

	return names[key];
}

static int by_place(const void *a, const void *b)
{
	const struct order_row *x = a, *y = b;
	int names = strcmp(x->pool->name, y->pool->name);

	if (names != 0)
		return names;
	return (x->worker->slot > y->worker->slot) - (x->worker->slot < y->worker->slot);
}

/* The larger first. */
static int larger(double x, double y, const void *a, const void *b)
{
	if (x != y)
		return x < y ? 1 : -1;
	return by_place(a, b);
}

#define BY(name, figure)                                                                   \
	static int name(const void *a, const void *b)                                      \
	{                                                                                  \
		const struct order_row *x = a, *y = b;                                     \
		return larger((double)x->worker->figure, (double)y->worker->figure, a, b); \
	}
BY(by_time, request.seconds)
BY(by_cpu, cpu_share)
BY(by_memory, resident)
BY(by_requests, requests)

struct order_row *order_rows(const struct figures *figures, enum order_key key, size_t *count)
{
	static int (*const compare[])(const void *, const void *) = {
		[ORDER_TIME] = by_time,
		[ORDER_CPU] = by_cpu,
		[ORDER_MEMORY] = by_memory,
		[ORDER_REQUESTS] = by_requests,
		[ORDER_POOL] = by_place,
	};
	struct order_row *rows;
	size_t n = 0;

	for (size_t i = 0; i < figures->count; i++)
		n += figures->pools[i].worker_count;
	rows = calloc(n + 1, sizeof(*rows));
	if (rows == NULL)
		return NULL;
	*count = 0;
	for (size_t i = 0; i < figures->count; i++)
		for (size_t j = 0; j < figures->pools[i].worker_count; j++)
			rows[(*count)++] = (struct order_row){ &figures->pools[i],
				&figures->pools[i].workers[j] };
	qsort(rows, n, sizeof(*rows), compare[key]);
	return rows;
}
