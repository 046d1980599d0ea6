/*
 * summary: a headline, a table of pools, what is wrong, and on demand a table of workers.
 *
 * Scripts read --json; this is for eyes, and its columns may change.
 */
#include "ctl/summary.h"

#include <math.h>
#include <string.h>
#include <time.h>

#include "ctl/figures.h"
#include "ctl/print.h"

#define LINE 700

enum table_colour summary_colour(const char *state)
{
	static const struct {
		const char *state;
		enum table_colour colour;
	} colours[] = { { "serving", TABLE_GOOD }, { "idle", TABLE_GOOD }, { "busy", TABLE_WARN },
		{ "starting", TABLE_WARN }, { "draining", TABLE_WARN }, { "retiring", TABLE_DIM },
		{ "unknown", TABLE_PLAIN } };

	for (size_t i = 0; i < sizeof(colours) / sizeof(colours[0]); i++)
		if (strcmp(colours[i].state, state) == 0)
			return colours[i].colour;
	return TABLE_BAD;
}

char *summary_within(const struct figures_latency *latency, unsigned percent, char *out)
{
	double most = figures_within(latency, percent);

	if (!isinf(most))
		return print_seconds(most, out);
	out[0] = '>';
	print_seconds(latency->count > 1 ? latency->buckets[latency->count - 2].most : 0, out + 1);
	return out;
}

static void print_change(const struct figures_change *change, const char *what, FILE *out)
{
	char done[PRINT_WIDTH], failed[PRINT_WIDTH], when[32] = "";
	time_t at = (time_t)change->at;
	struct tm tm;

	fprintf(out, "%s %s%s", print_number(change->done, done), what,
		change->done == 1 ? "" : "s");
	if (change->failed > 0)
		fprintf(out, ", %s failed", print_number(change->failed, failed));
	if (change->at > 0 && localtime_r(&at, &tm) != NULL &&
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm) > 0)
		fprintf(out, ", the last %s %s",
			strcmp(change->result, "running") == 0 ? "runs since" : "at", when);
}

static void print_head(const struct figures *f, bool colours, FILE *out)
{
	char pid[PRINT_WIDTH], since[PRINT_WIDTH];

	fprintf(out, "preforkd %s, pid %s, ", f->version, print_number(f->pid, pid));
	table_paint(f->state, summary_colour(f->state), colours, out);
	if (f->started > 0 && f->now >= f->started)
		fprintf(out, ", started %s ago", print_seconds(f->now - f->started, since));
	fputs("\n", out);
	print_change(&f->reloads, "reload", out);
	fputs("; ", out);
	print_change(&f->upgrades, "upgrade", out);
	fputs("\n\n", out);
}

static void add_number(struct table *table, int64_t number)
{
	char text[PRINT_WIDTH];

	table_add(table, TABLE_PLAIN, print_number(number, text));
}

static void add_queue(struct table *table, int64_t queue, int64_t limit)
{
	char part[PRINT_WIDTH], whole[PRINT_WIDTH], text[2 * PRINT_WIDTH + 1];

	snprintf(
		text, sizeof(text), "%s/%s", print_number(queue, part), print_number(limit, whole));
	table_add(table, queue > 0 ? TABLE_WARN : TABLE_PLAIN, text);
}

static void add_backoff(struct table *table, const struct figures_pool *pool)
{
	char delay[PRINT_WIDTH], left[PRINT_WIDTH], text[2 * PRINT_WIDTH + 16];

	if (!pool->backoff) {
		table_add(table, TABLE_PLAIN, "-");
		return;
	}
	snprintf(text, sizeof(text), "%s, next in %s", print_seconds(pool->delay, delay),
		print_seconds(pool->ends_in, left));
	table_add(table, TABLE_BAD, text);
}

static const char *shown_state(const struct figures_pool *pool)
{
	return pool->draining && strcmp(pool->state, "serving") == 0 ? "draining" : pool->state;
}

static void print_pools(const struct figures *f, bool colours, FILE *out)
{
	static const char *const titles[] = { "POOL", "STATE", ">IDLE", ">BUSY", ">STARTING",
		">RETIRING", ">QUEUE", ">REQUESTS", "BACK-OFF" };
	struct table *table = table_new(titles, sizeof(titles) / sizeof(titles[0]));

	if (table == NULL)
		return;
	for (size_t i = 0; i < f->count; i++) {
		const struct figures_pool *pool = &f->pools[i];
		table_add(table, TABLE_PLAIN, pool->name);
		table_add(table, summary_colour(shown_state(pool)), shown_state(pool));
		add_number(table, pool->idle);
		add_number(table, pool->busy);
		add_number(table, pool->starting);
		add_number(table, pool->retiring);
		add_queue(table, pool->queue, pool->queue_limit);
		add_number(table, pool->requests);
		add_backoff(table, pool);
	}
	table_print(table, colours, out);
	table_free(table);
}

static void print_troubles(const struct figures *f, bool colours, FILE *out)
{
	const char *retirement = figures_retirement(f);
	char line[LINE];

	for (size_t i = 0; i < f->count; i++) {
		const struct figures_pool *pool = &f->pools[i];
		if (pool->healthy)
			continue;
		snprintf(line, sizeof(line), "pool %s is not healthy: %s", pool->name,
			*pool->reason != '\0' ? pool->reason : shown_state(pool));
		fputs("\n", out);
		table_paint(line, TABLE_BAD, colours, out);
	}
	if (strcmp(f->reloads.result, "failed") == 0) {
		snprintf(line, sizeof(line), "the last reload failed: %s", f->reloads.reason);
		fputs("\n", out);
		table_paint(line, TABLE_BAD, colours, out);
	}
	if (strcmp(f->upgrades.result, "failed") == 0) {
		snprintf(line, sizeof(line), "the last upgrade failed: %s", f->upgrades.reason);
		fputs("\n", out);
		table_paint(line, TABLE_BAD, colours, out);
	}
	if (retirement != NULL) {
		fputs("\n", out);
		table_paint(retirement, TABLE_WARN, colours, out);
	}
	if (!figures_healthy(f) || strcmp(f->reloads.result, "failed") == 0 ||
		strcmp(f->upgrades.result, "failed") == 0 || retirement != NULL)
		fputs("\n", out);
}

/* What it does, or nothing. */
static void add_request(struct table *table, const struct figures_worker *worker)
{
	const struct figures_request *r = &worker->request;
	char time[PRINT_WIDTH], line[sizeof(r->method) + sizeof(r->path) + 1];

	if (*r->method == '\0' && *r->path == '\0' && !(r->seconds > 0)) {
		table_add(table, TABLE_PLAIN, "-");
		table_add(table, TABLE_PLAIN, "");
		return;
	}
	table_add(table, TABLE_PLAIN, print_seconds(r->seconds, time));
	snprintf(line, sizeof(line), "%s%s%s", r->method, *r->method != '\0' ? " " : "", r->path);
	table_add(table, TABLE_PLAIN, line);
}

static void add_worker(struct table *table, const struct figures_worker *worker, double now)
{
	char text[PRINT_WIDTH];

	add_number(table, worker->slot);
	add_number(table, worker->pid);
	add_number(table, worker->generation);
	table_add(table, summary_colour(worker->state), worker->state);
	table_add(table, TABLE_PLAIN,
		print_seconds(worker->started > 0 ? now - worker->started : -1, text));
	add_number(table, worker->requests);
	add_number(table, worker->connections);
	table_add(table, TABLE_PLAIN, print_seconds(worker->cpu, text));
	table_add(table, TABLE_PLAIN, print_bytes(worker->resident, text));
	table_add(table, TABLE_PLAIN, print_bytes(worker->bytes_in, text));
	table_add(table, TABLE_PLAIN, print_bytes(worker->bytes_out, text));
	table_add(table, TABLE_PLAIN, print_seconds(worker->total, text));
	table_add(table, TABLE_PLAIN, print_seconds(worker->last, text));
	add_request(table, worker);
}

static void print_listeners(const struct figures_pool *pool, FILE *out)
{
	char queue[PRINT_WIDTH], limit[PRINT_WIDTH], high[PRINT_WIDTH];

	for (size_t i = 0; i < pool->listener_count; i++) {
		const struct figures_listener *l = &pool->listeners[i];
		fprintf(out, "listens on %s: %s of %s wait, %s at most so far\n", l->address,
			print_number(l->queue, queue), print_number(l->limit, limit),
			print_number(l->high, high));
	}
}

/* Of programs nobody knows. */
static void print_requests(const struct figures_pool *pool, FILE *out)
{
	const struct figures_latency *l = &pool->latency;
	char half[PRINT_WIDTH], most[PRINT_WIDTH], mean[PRINT_WIDTH], n[PRINT_WIDTH];
	char in[PRINT_WIDTH], sent[PRINT_WIDTH];

	if (pool->requests < 0)
		return;
	fprintf(out, "%s requests, %s received, %s sent", print_number(pool->requests, n),
		print_bytes(pool->bytes_in, in), print_bytes(pool->bytes_out, sent));
	if (figures_mean(l) >= 0)
		fprintf(out, "; half of them within %s, 95%% within %s, %s on average",
			summary_within(l, 50, half), summary_within(l, 95, most),
			print_seconds(figures_mean(l), mean));
	fputs("\n", out);
}

static void print_deaths(const struct figures_pool *pool, FILE *out)
{
	char n[6][PRINT_WIDTH];
	const struct figures_deaths *d = &pool->died;

	fprintf(out,
		"%s workers started; ended: %s retired, %s exited, %s by a signal, %s by "
		"request-timeout, %s before they were ready\n",
		print_number(pool->spawned, n[0]), print_number(d->retired, n[1]),
		print_number(d->exited, n[2]), print_number(d->signal, n[3]),
		print_number(d->timeout, n[4]), print_number(d->failed_start, n[5]));
}

static void print_workers(const struct figures_pool *pool, double now, bool colours, FILE *out)
{
	static const char *const titles[] = { ">SLOT", ">PID", ">GEN", "STATE", ">AGE", ">REQUESTS",
		">CONN", ">CPU", ">MEMORY", ">IN", ">OUT", ">TOTAL", ">LAST", ">TIME", "REQUEST" };
	struct table *table = table_new(titles, sizeof(titles) / sizeof(titles[0]));
	char min[PRINT_WIDTH], max[PRINT_WIDTH], wanted[PRINT_WIDTH];

	if (table == NULL)
		return;
	fprintf(out, "\npool %s: %s %s\n%s of %s..%s workers wanted\n", pool->name, pool->kind,
		pool->program, print_number(pool->wanted, wanted), print_number(pool->min, min),
		print_number(pool->max, max));
	print_listeners(pool, out);
	print_requests(pool, out);
	print_deaths(pool, out);
	for (size_t i = 0; i < pool->worker_count; i++)
		add_worker(table, &pool->workers[i], now);
	table_print(table, colours, out);
	table_free(table);
}

void summary_print(const struct figures *figures, bool workers, bool colours, FILE *out)
{
	print_head(figures, colours, out);
	print_pools(figures, colours, out);
	print_troubles(figures, colours, out);
	for (size_t i = 0; workers && i < figures->count; i++)
		print_workers(&figures->pools[i], figures->now, colours, out);
}
