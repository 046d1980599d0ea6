/*
 * rates: differences of counters. A counter that went back belongs to another daemon or process,
 * and says nothing.
 */
#include "ctl/rates.h"

#include <stdlib.h>
#include <string.h>

#include "ctl/figures.h"

static const struct figures_pool *same_pool(
	const struct figures *figures, const struct figures_pool *pool, size_t likely)
{
	if (likely < figures->count && strcmp(figures->pools[likely].name, pool->name) == 0)
		return &figures->pools[likely];
	for (size_t i = 0; i < figures->count; i++)
		if (strcmp(figures->pools[i].name, pool->name) == 0)
			return &figures->pools[i];
	return NULL;
}

struct spent {
	int64_t pid;
	double cpu;
};

static int by_pid(const void *a, const void *b)
{
	const struct spent *x = a, *y = b;

	return (x->pid > y->pid) - (x->pid < y->pid);
}

/* What the workers of a pool had used, in the order of their pids; NULL without memory. */
static struct spent *spent_of(const struct figures_pool *pool)
{
	struct spent *list = calloc(pool->worker_count + 1, sizeof(*list));

	if (list == NULL)
		return NULL;
	for (size_t i = 0; i < pool->worker_count; i++)
		list[i] = (struct spent){ pool->workers[i].pid, pool->workers[i].cpu };
	qsort(list, pool->worker_count, sizeof(*list), by_pid);
	return list;
}

static void fill_workers(
	struct figures_pool *pool, const struct figures_pool *before, double seconds)
{
	struct spent *list = spent_of(before);

	for (size_t i = 0; list != NULL && i < pool->worker_count; i++) {
		struct figures_worker *worker = &pool->workers[i];
		struct spent key = { worker->pid, 0 };
		const struct spent *found =
			bsearch(&key, list, before->worker_count, sizeof(*list), by_pid);
		if (found != NULL && found->cpu >= 0 && worker->cpu >= found->cpu)
			worker->cpu_share = (worker->cpu - found->cpu) / seconds;
	}
	free(list);
}

/* -1: not known. */
static double rate_of(int64_t now, int64_t before, double seconds)
{
	return before >= 0 && now >= before ? (double)(now - before) / seconds : -1;
}

/* Another daemon may have other buckets. */
static void fill_latency(const struct figures_latency *now, const struct figures_latency *before,
	struct figures_latency *out)
{
	if (now->count != before->count || now->sum < before->sum)
		return;
	for (size_t i = 0; i < now->count; i++) {
		const struct figures_bucket *a = &before->buckets[i], *b = &now->buckets[i];

		if (a->most != b->most || a->requests > b->requests)
			return;
		out->buckets[i] = (struct figures_bucket){ b->most, b->requests - a->requests };
	}
	out->sum = now->sum - before->sum;
	out->count = now->count;
}

void rates_fill(struct figures *now, const struct figures *before, double seconds)
{
	if (before == NULL || before->pid != now->pid || !(seconds > 0))
		return;
	for (size_t i = 0; i < now->count; i++) {
		struct figures_pool *pool = &now->pools[i];
		const struct figures_pool *old = same_pool(before, pool, i);
		if (old == NULL)
			continue;
		pool->rate = rate_of(pool->requests, old->requests, seconds);
		pool->rate_in = rate_of(pool->bytes_in, old->bytes_in, seconds);
		pool->rate_out = rate_of(pool->bytes_out, old->bytes_out, seconds);
		fill_latency(&pool->latency, &old->latency, &pool->recent);
		fill_workers(pool, old, seconds);
	}
}
