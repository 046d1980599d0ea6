/*
 * figures: reads /status.
 *
 * jansson takes care of the syntax, and of UTF-8. What stands in a place is asked for its type and
 * then copied: nothing of the JSON is kept.
 */
#include "ctl/figures.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "ctl/print.h"

static int64_t integer(const json_t *of, const char *key)
{
	const json_t *value = json_object_get(of, key);

	return json_is_integer(value) && json_integer_value(value) >= 0 ? json_integer_value(value)
									: -1;
}

static double real(const json_t *of, const char *key)
{
	const json_t *value = json_object_get(of, key);

	return json_is_number(value) && json_number_value(value) >= 0 ? json_number_value(value)
								      : -1;
}

static bool truth(const json_t *of, const char *key)
{
	return json_is_true(json_object_get(of, key));
}

static void text(const json_t *of, const char *key, char *out, size_t size)
{
	const char *value = json_string_value(json_object_get(of, key));

	print_safe(value != NULL ? value : "", out, size);
}

#define TEXT(of, key, field) text(of, key, field, sizeof(field))

static void read_request(const json_t *json, struct figures_request *request)
{
	TEXT(json, "method", request->method);
	TEXT(json, "path", request->path);
	request->seconds = real(json, "seconds");
}

static void read_worker(const json_t *json, struct figures_worker *worker)
{
	worker->slot = integer(json, "slot");
	worker->pid = integer(json, "pid");
	worker->generation = integer(json, "generation");
	TEXT(json, "state", worker->state);
	worker->started = real(json, "started");
	read_request(json_object_get(json, "request"), &worker->request);
	worker->requests = integer(json, "requests");
	worker->connections = integer(json, "connections");
	worker->resident = integer(json, "resident_bytes");
	worker->bytes_in = integer(json, "bytes_in");
	worker->bytes_out = integer(json, "bytes_out");
	worker->last = real(json, "last_seconds");
	worker->total = real(json, "total_seconds");
	worker->cpu = real(json, "cpu_seconds");
	worker->cpu_share = -1;
}

/* Bounds and counts that do not rise, or are too many, say nothing. */
static void read_latency(const json_t *json, struct figures_latency *latency)
{
	const json_t *buckets = json_object_get(json, "buckets");
	size_t count = json_array_size(buckets);
	struct figures_bucket before = { 0 };

	for (size_t i = 0; i < count && count <= FIGURES_BUCKETS; i++) {
		const json_t *bucket = json_array_get(buckets, i);
		double most = i + 1 < count ? real(bucket, "le") : INFINITY;
		struct figures_bucket b = { most, integer(bucket, "count") };

		if (b.most <= before.most || b.requests < before.requests)
			return;
		latency->buckets[i] = before = b;
	}
	latency->sum = real(json, "sum");
	latency->count = count <= FIGURES_BUCKETS && latency->sum >= 0 ? count : 0;
}

static void read_listener(const json_t *json, struct figures_listener *listener)
{
	TEXT(json, "address", listener->address);
	listener->queue = integer(json, "queue");
	listener->limit = integer(json, "queue_limit");
	listener->high = integer(json, "queue_high");
}

static void read_counts(const json_t *workers, const json_t *died, struct figures_pool *pool)
{
	pool->min = integer(workers, "min");
	pool->max = integer(workers, "max");
	pool->wanted = integer(workers, "wanted");
	pool->live = integer(workers, "live");
	pool->starting = integer(workers, "starting");
	pool->idle = integer(workers, "idle");
	pool->busy = integer(workers, "busy");
	pool->retiring = integer(workers, "retiring");
	pool->died.exited = integer(died, "exited");
	pool->died.signal = integer(died, "signal");
	pool->died.timeout = integer(died, "timeout");
	pool->died.failed_start = integer(died, "failed_start");
	pool->died.retired = integer(died, "retired");
}

/* Of an unknown one the sum is unknown too. */
static void add_known(int64_t *sum, int64_t more)
{
	*sum = *sum < 0 || more < 0 ? -1 : *sum + more;
}

static int read_lists(const json_t *json, struct figures_pool *pool)
{
	const json_t *listeners = json_object_get(json, "listeners");
	const json_t *workers = json_object_get(json, "list");

	pool->listeners = calloc(json_array_size(listeners) + 1, sizeof(*pool->listeners));
	pool->workers = calloc(json_array_size(workers) + 1, sizeof(*pool->workers));
	if (pool->listeners == NULL || pool->workers == NULL)
		return -1;
	for (size_t i = 0; i < json_array_size(listeners); i++) {
		struct figures_listener *listener = &pool->listeners[pool->listener_count++];
		read_listener(json_array_get(listeners, i), listener);
		add_known(&pool->queue, listener->queue);
		add_known(&pool->queue_limit, listener->limit);
	}
	for (size_t i = 0; i < json_array_size(workers); i++)
		read_worker(json_array_get(workers, i), &pool->workers[pool->worker_count++]);
	return 0;
}

static int read_pool(const json_t *json, struct figures_pool *pool)
{
	const json_t *backoff = json_object_get(json, "backoff");

	TEXT(json, "name", pool->name);
	TEXT(json, "kind", pool->kind);
	TEXT(json, "program", pool->program);
	TEXT(json, "state", pool->state);
	TEXT(json, "reason", pool->reason);
	pool->healthy = truth(json, "healthy");
	pool->draining = truth(json, "draining");
	pool->generation = integer(json, "generation");
	pool->requests = integer(json, "requests");
	pool->bytes_in = integer(json, "bytes_in");
	pool->bytes_out = integer(json, "bytes_out");
	pool->spawned = integer(json, "spawned");
	pool->backoff = truth(backoff, "active");
	pool->delay = real(backoff, "delay");
	pool->ends_in = real(backoff, "ends_in");
	pool->rate = pool->rate_in = pool->rate_out = -1;
	read_latency(json_object_get(json, "latency"), &pool->latency);
	read_counts(json_object_get(json, "workers"), json_object_get(json, "died"), pool);
	return read_lists(json, pool);
}

static void read_change(const json_t *json, struct figures_change *change)
{
	const json_t *last = json_object_get(json, "last");

	change->done = integer(json, "done");
	change->failed = integer(json, "failed");
	TEXT(last, "result", change->result);
	change->at = real(last, "at");
	TEXT(last, "reason", change->reason);
}

static int read_all(const json_t *json, struct figures *figures)
{
	const json_t *pools = json_object_get(json, "pools");

	TEXT(json, "version", figures->version);
	TEXT(json, "state", figures->state);
	TEXT(json, "retirement", figures->retirement);
	figures->pid = integer(json, "pid");
	figures->now = real(json, "now");
	figures->started = real(json, "started");
	figures->gate_restarts = integer(json_object_get(json, "gate"), "restarts");
	read_change(json_object_get(json, "reloads"), &figures->reloads);
	read_change(json_object_get(json, "upgrades"), &figures->upgrades);
	figures->pools = calloc(json_array_size(pools) + 1, sizeof(*figures->pools));
	if (figures->pools == NULL)
		return -1;
	while (figures->count < json_array_size(pools)) {
		size_t i = figures->count++;
		if (read_pool(json_array_get(pools, i), &figures->pools[i]) != 0)
			return -1;
	}
	return 0;
}

struct figures *figures_read(const char *json, size_t length, struct err *err)
{
	struct figures *figures = NULL;
	json_error_t error;
	json_t *root = json_loadb(json != NULL ? json : "", length, 0, &error);

	if (!json_is_object(root) || !json_is_array(json_object_get(root, "pools"))) {
		err_set(err, EXIT_FAILURE, "the answer is not the status of preforkd");
	} else {
		figures = calloc(1, sizeof(*figures));
		if (figures == NULL || read_all(root, figures) != 0) {
			err_set(err, EXIT_FAILURE, "out of memory");
			figures_free(figures);
			figures = NULL;
		}
	}
	json_decref(root);
	return figures;
}

void figures_free(struct figures *figures)
{
	if (figures == NULL)
		return;
	for (size_t i = 0; i < figures->count; i++) {
		free(figures->pools[i].listeners);
		free(figures->pools[i].workers);
	}
	free(figures->pools);
	free(figures);
}

bool figures_healthy(const struct figures *figures)
{
	for (size_t i = 0; i < figures->count; i++)
		if (!figures->pools[i].healthy)
			return false;
	return strcmp(figures->state, "serving") == 0;
}

static int64_t requests_of(const struct figures_latency *latency)
{
	return latency->count > 0 ? latency->buckets[latency->count - 1].requests : 0;
}

double figures_within(const struct figures_latency *latency, unsigned percent)
{
	double wanted = (double)requests_of(latency) * percent / 100;

	for (size_t i = 0; wanted > 0 && i < latency->count; i++)
		if ((double)latency->buckets[i].requests >= wanted)
			return latency->buckets[i].most;
	return -1;
}

double figures_mean(const struct figures_latency *latency)
{
	int64_t requests = requests_of(latency);

	return requests > 0 ? latency->sum / (double)requests : -1;
}

static bool has_programs(const struct figures *figures)
{
	for (size_t i = 0; i < figures->count; i++)
		if (strcmp(figures->pools[i].kind, "command") == 0)
			return true;
	return false;
}

const char *figures_retirement(const struct figures *figures)
{
	if (!has_programs(figures))
		return NULL;
	if (strcmp(figures->retirement, "signal") == 0)
		return "programs are told to stop wherever they are, which can cut a request: "
		       "preforkd may not look into them";
	if (strcmp(figures->retirement, "stop") == 0)
		return "programs are retired when they are found without a connection, which in a "
		       "pool that is never idle can take until stop-timeout: they cannot be traced";
	return NULL;
}
