/*
 * metrics: one table of families; their names are a promise, preforkd(8) lists them.
 *
 * The two formats differ in the name of a counter's family, in UNIT, and in the last line. Counters
 * come from the master, and never go back; what is not known has no sample.
 */
#include "gate/metrics.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/ledger.h"
#include "gate/names.h"
#include "gate/text.h"
#include "gate/vitals.h"

struct family;

struct page {
	FILE *out;
	const struct ledger *ledger;
	const struct vitals *vitals;
	bool open;
	const struct family *family; /* whose samples are written */
};

struct family {
	const char *name;
	enum { GAUGE, COUNTER, HISTOGRAM } type;
	const char *unit, *help;
	void (*daemon)(struct page *page, const struct ledger_daemon *d); /* or for each pool: */
	void (*pool)(struct page *page, const struct ledger_pool *p, uint32_t index);
};

/* Up to three labels; a name of NULL ends them. */
struct label {
	const char *name, *value;
};

static void write_value(FILE *out, const char *value)
{
	char clean[3 * LEDGER_LINE + 1];

	for (const char *c = text_utf8(value, clean, sizeof(clean)); *c != '\0'; c++) {
		if (*c == '\n')
			fputs("\\n", out);
		else if (*c == '"' || *c == '\\')
			fprintf(out, "\\%c", *c);
		else
			fputc(*c, out);
	}
}

static void begin_part(struct page *page, const char *suffix, const struct label *labels)
{
	const char *between = "{";

	fprintf(page->out, "%s%s", page->family->name, suffix);
	for (; labels->name != NULL; labels++) {
		fprintf(page->out, "%s%s=\"", between, labels->name);
		write_value(page->out, labels->value);
		fputc('"', page->out);
		between = ",";
	}
	fputs(between[0] == ',' ? "} " : " ", page->out);
}

static void begin_sample(struct page *page, const struct label *labels)
{
	begin_part(page, page->family->type == COUNTER ? "_total" : "", labels);
}

#define LABELS(...) ((const struct label[]){ __VA_ARGS__, { NULL, NULL } })

static const struct label nothing[] = { { NULL, NULL } };

static void whole(struct page *page, const struct label *labels, uint64_t value)
{
	begin_sample(page, labels);
	fprintf(page->out, "%" PRIu64 "\n", value);
}

static void seconds(struct page *page, const struct label *labels, uint64_t ms)
{
	begin_sample(page, labels);
	fprintf(page->out, "%" PRIu64 ".%03" PRIu64 "\n", ms / 1000, ms % 1000);
}

/* The daemon. */

static void build(struct page *page, const struct ledger_daemon *d)
{
	whole(page, LABELS({ "version", d->version }), 1);
}

static void start_time(struct page *page, const struct ledger_daemon *d)
{
	seconds(page, nothing, d->started_at);
}

static void phase(struct page *page, const struct ledger_daemon *d)
{
	for (uint32_t i = LEDGER_STARTING; i <= LEDGER_STOPPING; i++)
		whole(page, LABELS({ "state", names_phase(i) }), d->phase == i);
}

static void changes(struct page *page, const struct ledger_changes *c)
{
	whole(page, LABELS({ "result", names_result(LEDGER_DONE) }), c->done);
	whole(page, LABELS({ "result", names_result(LEDGER_FAILED) }), c->failed);
}

static void reloads(struct page *page, const struct ledger_daemon *d)
{
	changes(page, &d->reloads);
}

static void upgrades(struct page *page, const struct ledger_daemon *d)
{
	changes(page, &d->upgrades);
}

static void success(struct page *page, const struct ledger_changes *c)
{
	if (c->last == LEDGER_DONE || c->last == LEDGER_FAILED)
		whole(page, nothing, c->last == LEDGER_DONE);
}

static void last_reload(struct page *page, const struct ledger_daemon *d)
{
	success(page, &d->reloads);
}

static void last_upgrade(struct page *page, const struct ledger_daemon *d)
{
	success(page, &d->upgrades);
}

static void last_reload_at(struct page *page, const struct ledger_daemon *d)
{
	if (d->reloads.at > 0)
		seconds(page, nothing, d->reloads.at);
}

static void last_upgrade_at(struct page *page, const struct ledger_daemon *d)
{
	if (d->upgrades.at > 0)
		seconds(page, nothing, d->upgrades.at);
}

static void gate_restarts(struct page *page, const struct ledger_daemon *d)
{
	whole(page, nothing, d->gate_restarts);
}

/* A pool. */

/* A number of struct ledger_pool as it is. */
#define PLAIN(field)                                                                      \
	static void field(struct page *page, const struct ledger_pool *p, uint32_t index) \
	{                                                                                 \
		(void)index;                                                              \
		whole(page, LABELS({ "pool", p->name }), p->field);                       \
	}
PLAIN(healthy)
PLAIN(draining)
PLAIN(generation)
PLAIN(wanted)
PLAIN(min)
PLAIN(max)
PLAIN(spawned)

static void information(struct page *page, const struct ledger_pool *p, uint32_t index)
{
	(void)index;
	whole(page,
		LABELS({ "pool", p->name }, { "kind", names_kind(p->kind) },
			{ "program", p->program }),
		1);
}

static void workers(struct page *page, const struct ledger_pool *p, uint32_t index)
{
	(void)index;
	whole(page, LABELS({ "pool", p->name }, { "state", "starting" }), p->starting);
	whole(page, LABELS({ "pool", p->name }, { "state", "idle" }), p->idle);
	whole(page, LABELS({ "pool", p->name }, { "state", "busy" }), p->busy);
	whole(page, LABELS({ "pool", p->name }, { "state", "retiring" }), p->retiring);
}

static void requests(struct page *page, const struct ledger_pool *p, uint32_t index)
{
	(void)index;
	if (p->counts)
		whole(page, LABELS({ "pool", p->name }), p->figures.requests);
}

static void received(struct page *page, const struct ledger_pool *p, uint32_t index)
{
	(void)index;
	if (p->counts)
		whole(page, LABELS({ "pool", p->name }), p->figures.bytes_in);
}

static void sent(struct page *page, const struct ledger_pool *p, uint32_t index)
{
	(void)index;
	if (p->counts)
		whole(page, LABELS({ "pool", p->name }), p->figures.bytes_out);
}

static void duration(struct page *page, const struct ledger_pool *p, uint32_t index)
{
	const struct label pool[] = { { "pool", p->name }, { NULL, NULL } };
	uint64_t count = 0;
	char bound[32];

	(void)index;
	for (size_t i = 0; p->counts && i < BOARD_BUCKETS; i++) {
		if (i < BOARD_BUCKETS - 1)
			snprintf(bound, sizeof(bound), "%g", (double)board_bounds_us[i] / 1e6);
		else
			snprintf(bound, sizeof(bound), "+Inf");
		count += p->figures.buckets[i];
		begin_part(page, "_bucket", LABELS({ "pool", p->name }, { "le", bound }));
		fprintf(page->out, "%" PRIu64 "\n", count);
	}
	if (!p->counts)
		return;
	begin_part(page, "_count", pool);
	fprintf(page->out, "%" PRIu64 "\n", count);
	begin_part(page, "_sum", pool);
	fprintf(page->out, "%" PRIu64 ".%06" PRIu64 "\n", p->figures.total_us / 1000000,
		p->figures.total_us % 1000000);
}

static void deaths(struct page *page, const struct ledger_pool *p, uint32_t index)
{
	(void)index;
	for (uint32_t i = 0; i < LEDGER_DEATHS; i++)
		whole(page, LABELS({ "pool", p->name }, { "cause", names_death(i) }), p->died[i]);
}

static void backing_off(struct page *page, const struct ledger_pool *p, uint32_t index)
{
	(void)index;
	whole(page, LABELS({ "pool", p->name }), p->backoff > 0);
}

static void backoff_delay(struct page *page, const struct ledger_pool *p, uint32_t index)
{
	(void)index;
	seconds(page, LABELS({ "pool", p->name }), p->backoff);
}

/* The first of a pool's records stands behind those of the pools before. */
static uint32_t first_listener(const struct ledger *ledger, uint32_t index)
{
	uint32_t first = 0;

	for (uint32_t i = 0; i < index; i++)
		first += ledger_pool(ledger, i)->listener_count;
	return first;
}

static uint32_t first_worker(const struct ledger *ledger, uint32_t index)
{
	uint32_t first = 0;

	for (uint32_t i = 0; i < index; i++)
		first += ledger_pool(ledger, i)->worker_count;
	return first;
}

#define QUEUE(function, field)                                                                  \
	static void function(struct page *page, const struct ledger_pool *p, uint32_t index)    \
	{                                                                                       \
		uint32_t first = first_listener(page->ledger, index);                           \
		for (uint32_t i = 0; i < p->listener_count; i++) {                              \
			const struct ledger_listener *l =                                       \
				ledger_listener(page->ledger, first + i);                       \
			if (l->known)                                                           \
				whole(page,                                                     \
					LABELS({ "pool", p->name }, { "address", l->address }), \
					l->field);                                              \
		}                                                                               \
	}
QUEUE(queue, queue)
QUEUE(queue_limit, limit)
QUEUE(queue_high, high)

static void longest_request(struct page *page, const struct ledger_pool *p, uint32_t index)
{
	uint32_t first = first_worker(page->ledger, index);
	uint64_t longest = 0;

	for (uint32_t i = 0; i < p->worker_count; i++) {
		const struct ledger_worker *w = ledger_worker(page->ledger, first + i);

		if (w->has_request && w->lasted > longest)
			longest = w->lasted;
	}
	if (p->counts)
		seconds(page, LABELS({ "pool", p->name }), longest);
}

/* Only the whole sum: a part of it would look as if the pool had shrunk. */
static void resident(struct page *page, const struct ledger_pool *p, uint32_t index)
{
	uint32_t first = first_worker(page->ledger, index);
	uint64_t sum = 0;

	for (uint32_t i = 0; i < p->worker_count; i++) {
		struct vital vital = vitals_of(page->vitals, first + i);

		if (!vital.known)
			return;
		sum += vital.resident_bytes;
	}
	whole(page, LABELS({ "pool", p->name }), sum);
}

static const struct family families[] = {
	{ "preforkd_build_info", .help = "The version that runs", .daemon = build },
	{ "preforkd_start_time_seconds", .unit = "seconds",
		.help = "When the daemon was started, since 1970", .daemon = start_time },
	{ "preforkd_state", .help = "1 for the state that the daemon is in", .daemon = phase },
	{ "preforkd_reloads", .type = COUNTER, .help = "Reloads that have ended",
		.daemon = reloads },
	{ "preforkd_last_reload_successful",
		.help = "1 if the last reload was done, 0 if it failed", .daemon = last_reload },
	{ "preforkd_last_reload_timestamp_seconds", .unit = "seconds",
		.help = "When the last reload began or ended, since 1970",
		.daemon = last_reload_at },
	{ "preforkd_upgrades", .type = COUNTER, .help = "Upgrades that have ended",
		.daemon = upgrades },
	{ "preforkd_last_upgrade_successful",
		.help = "1 if the last upgrade was done, 0 if it failed", .daemon = last_upgrade },
	{ "preforkd_last_upgrade_timestamp_seconds", .unit = "seconds",
		.help = "When the last upgrade began or ended, since 1970",
		.daemon = last_upgrade_at },
	{ "preforkd_gate_restarts", .type = COUNTER,
		.help = "How often the process that answers here has died and was started again",
		.daemon = gate_restarts },
	{ "preforkd_pool_info", .help = "What the pool runs", .pool = information },
	{ "preforkd_pool_healthy", .help = "1 if the pool serves and is not drained",
		.pool = healthy },
	{ "preforkd_pool_draining", .help = "1 while the pool is drained", .pool = draining },
	{ "preforkd_pool_generation", .help = "Number of the reload that the workers are of",
		.pool = generation },
	{ "preforkd_workers", .help = "Workers that live, by state", .pool = workers },
	{ "preforkd_workers_wanted", .help = "Workers that there should be now", .pool = wanted },
	{ "preforkd_workers_minimum", .help = "Workers that there are at least", .pool = min },
	{ "preforkd_workers_maximum", .help = "Workers that there are at most", .pool = max },
	{ "preforkd_workers_spawned", .type = COUNTER, .help = "Workers that were started",
		.pool = spawned },
	{ "preforkd_workers_died", .type = COUNTER, .help = "Workers that have ended, by cause",
		.pool = deaths },
	{ "preforkd_workers_resident_bytes", .unit = "bytes",
		.help = "Resident size of all workers", .pool = resident },
	{ "preforkd_requests", .type = COUNTER, .help = "Requests that were answered",
		.pool = requests },
	{ "preforkd_received_bytes", .type = COUNTER, .unit = "bytes",
		.help = "Parameters and bodies of requests that were answered", .pool = received },
	{ "preforkd_sent_bytes", .type = COUNTER, .unit = "bytes",
		.help = "Answers, with their headers", .pool = sent },
	{ "preforkd_request_duration_seconds", .type = HISTOGRAM, .unit = "seconds",
		.help = "Time from the begin of a request to the end of its answer",
		.pool = duration },
	{ "preforkd_longest_request_seconds", .unit = "seconds",
		.help = "Age of the oldest request that is in hand, 0 if none is",
		.pool = longest_request },
	{ "preforkd_backoff_active", .help = "1 while workers fail to start, and the pool waits",
		.pool = backing_off },
	{ "preforkd_backoff_delay_seconds", .unit = "seconds",
		.help = "Wait between two tries, 0 if there is none", .pool = backoff_delay },
	{ "preforkd_queue_connections", .unit = "connections",
		.help = "Connections that nobody has accepted yet", .pool = queue },
	{ "preforkd_queue_limit_connections", .unit = "connections",
		.help = "Connections that may wait", .pool = queue_limit },
	{ "preforkd_queue_high_connections", .unit = "connections",
		.help = "The most that were seen waiting", .pool = queue_high },
};

static void write_family(struct page *page, const struct family *f)
{
	static const char *const types[] = {
		[GAUGE] = "gauge", [COUNTER] = "counter", [HISTOGRAM] = "histogram"
	};
	const char *suffix = f->type == COUNTER && !page->open ? "_total" : "";

	page->family = f;
	fprintf(page->out, "# HELP %s%s %s.\n# TYPE %s%s %s\n", f->name, suffix, f->help, f->name,
		suffix, types[f->type]);
	if (page->open && f->unit != NULL)
		fprintf(page->out, "# UNIT %s %s\n", f->name, f->unit);
	if (f->daemon != NULL)
		f->daemon(page, ledger_daemon(page->ledger));
	for (uint32_t i = 0; f->pool != NULL && i < ledger_counts(page->ledger)->pools; i++)
		f->pool(page, ledger_pool(page->ledger, i), i);
}

char *metrics_text(const struct ledger *ledger, const struct vitals *vitals, bool open)
{
	char *text = NULL;
	size_t size = 0;
	struct page page = { .out = open_memstream(&text, &size),
		.ledger = ledger,
		.vitals = vitals,
		.open = open };

	if (page.out == NULL)
		return NULL;
	for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++)
		write_family(&page, &families[i]);
	if (open)
		fputs("# EOF\n", page.out);
	fclose(page.out);
	return text;
}
