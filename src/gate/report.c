/*
 * report: the names of the fields are a promise; preforkd(8) describes them.
 *
 * What is not known is null. Text may have come from anybody: it is made valid UTF-8 here, and the
 * rest is for JSON.
 */
#include "gate/report.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/ledger.h"
#include "gate/names.h"
#include "gate/text.h"
#include "gate/vitals.h"

#define FORMAT (JSON_COMPACT | JSON_REAL_PRECISION(15))

static json_t *text(const char *bytes)
{
	char clean[3 * LEDGER_LINE + 1];

	return json_string_nocheck(text_utf8(bytes, clean, sizeof(clean)));
}

static json_t *name(const char *word)
{
	return word != NULL ? json_string_nocheck(word) : json_null();
}

static json_t *number(uint64_t n)
{
	return json_integer((json_int_t)n);
}

static json_t *seconds(uint64_t ms)
{
	return json_real((double)ms / 1000);
}

static json_t *moment(uint64_t wall)
{
	return wall > 0 ? seconds(wall) : json_null();
}

static void set(json_t *object, const char *key, json_t *value)
{
	json_object_set_new_nocheck(object, key, value);
}

static json_t *changes(const struct ledger_changes *c)
{
	json_t *out = json_object(), *last = json_object();

	set(last, "result", name(names_result(c->last)));
	set(last, "at", moment(c->at));
	set(last, "reason", text(c->reason));
	set(out, "done", number(c->done));
	set(out, "failed", number(c->failed));
	set(out, "last", last);
	return out;
}

static json_t *micros(uint64_t us)
{
	return json_real((double)us / 1e6);
}

static void set_bytes(json_t *out, bool known, const struct board_figures *figures)
{
	set(out, "bytes_in", known ? number(figures->bytes_in) : json_null());
	set(out, "bytes_out", known ? number(figures->bytes_out) : json_null());
}

/* Cumulative, as in the metrics; the last bucket holds everything. */
static json_t *latency(const struct board_figures *figures)
{
	json_t *out = json_object(), *buckets = json_array();
	uint64_t count = 0;

	for (size_t i = 0; i < BOARD_BUCKETS; i++) {
		json_t *bucket = json_object();

		count += figures->buckets[i];
		set(bucket, "le", i < BOARD_BUCKETS - 1 ? micros(board_bounds_us[i]) : json_null());
		set(bucket, "count", number(count));
		json_array_append_new(buckets, bucket);
	}
	set(out, "buckets", buckets);
	set(out, "sum", micros(figures->total_us));
	set(out, "count", number(count));
	return out;
}

static json_t *listener(const struct ledger_listener *l)
{
	json_t *out = json_object();

	set(out, "address", text(l->address));
	set(out, "queue", l->known ? number(l->queue) : json_null());
	set(out, "queue_limit", l->known ? number(l->limit) : json_null());
	set(out, "queue_high", l->known ? number(l->high) : json_null());
	return out;
}

static json_t *request(const struct ledger_worker *w)
{
	json_t *out;

	if (!w->has_request)
		return json_null();
	out = json_object();
	set(out, "method", text(w->method));
	set(out, "path", text(w->path));
	set(out, "seconds", seconds(w->lasted));
	return out;
}

static json_t *worker(const struct ledger_worker *w, const struct vital *vital)
{
	json_t *out = json_object();

	set(out, "slot", number(w->slot));
	set(out, "pid", json_integer(w->pid));
	set(out, "generation", number(w->generation));
	set(out, "state", name(names_worker(w->state)));
	set(out, "started", moment(w->started_at));
	set(out, "requests", w->in_process ? number(w->figures.requests) : json_null());
	set(out, "request", request(w));
	set(out, "last_seconds", w->in_process ? micros(w->figures.last_us) : json_null());
	set(out, "total_seconds", w->in_process ? micros(w->figures.total_us) : json_null());
	set_bytes(out, w->in_process, &w->figures);
	if (w->in_process)
		set(out, "connections", number(w->figures.connections));
	else
		set(out, "connections", w->looked_at ? number(w->connections) : json_null());
	set(out, "cpu_seconds", vital->known ? json_real(vital->cpu_seconds) : json_null());
	set(out, "resident_bytes", vital->known ? number(vital->resident_bytes) : json_null());
	return out;
}

static json_t *strength(const struct ledger_pool *p)
{
	json_t *out = json_object();

	set(out, "min", number(p->min));
	set(out, "max", number(p->max));
	set(out, "wanted", number(p->wanted));
	set(out, "live", number(p->live));
	set(out, "starting", number(p->starting));
	set(out, "idle", number(p->idle));
	set(out, "busy", number(p->busy));
	set(out, "retiring", number(p->retiring));
	return out;
}

static json_t *deaths(const struct ledger_pool *p)
{
	json_t *out = json_object();

	for (uint32_t i = 0; i < LEDGER_DEATHS; i++)
		set(out, names_death(i), number(p->died[i]));
	return out;
}

static json_t *backoff(const struct ledger_pool *p)
{
	json_t *out = json_object();

	set(out, "active", json_boolean(p->backoff > 0));
	set(out, "delay", seconds(p->backoff));
	set(out, "ends_in", seconds(p->backoff_left));
	return out;
}

static void set_head(json_t *out, const struct ledger_pool *p)
{
	set(out, "name", text(p->name));
	set(out, "kind", name(names_kind(p->kind)));
	set(out, "program", text(p->program));
	set(out, "state", name(names_pool(p->state)));
	set(out, "healthy", json_boolean(p->healthy));
	set(out, "reason", text(p->reason));
	set(out, "generation", number(p->generation));
	set(out, "draining", json_boolean(p->draining));
}

/* The first of its listeners and workers in the ledger; moves them behind its last. */
struct place {
	uint32_t listener, worker;
};

static json_t *pool(const struct ledger *ledger, const struct vitals *vitals,
	const struct ledger_pool *p, struct place *at)
{
	json_t *out = json_object(), *listeners = json_array(), *workers = json_array();

	for (uint32_t i = 0; i < p->listener_count; i++)
		json_array_append_new(listeners, listener(ledger_listener(ledger, at->listener++)));
	for (uint32_t i = 0; i < p->worker_count; i++, at->worker++) {
		struct vital vital = vitals_of(vitals, at->worker);

		json_array_append_new(workers, worker(ledger_worker(ledger, at->worker), &vital));
	}
	set_head(out, p);
	set(out, "listeners", listeners);
	set(out, "workers", strength(p));
	set(out, "requests", p->counts ? number(p->figures.requests) : json_null());
	set_bytes(out, p->counts, &p->figures);
	set(out, "spawned", number(p->spawned));
	set(out, "died", deaths(p));
	set(out, "backoff", backoff(p));
	set(out, "latency", p->counts ? latency(&p->figures) : json_null());
	set(out, "list", workers);
	return out;
}

static json_t *events(const struct ledger *ledger)
{
	json_t *out = json_array();

	for (uint32_t i = 0; i < ledger_counts(ledger)->events; i++) {
		const struct ledger_event *e = ledger_event(ledger, i);
		json_t *event = json_object();

		set(event, "at", moment(e->at));
		set(event, "level", name(names_level(e->level)));
		set(event, "text", text(e->text));
		json_array_append_new(out, event);
	}
	return out;
}

static json_t *gate(const struct ledger_daemon *d)
{
	json_t *out = json_object();

	set(out, "pid", json_integer(d->gate_pid));
	set(out, "restarts", number(d->gate_restarts));
	return out;
}

static char *print(json_t *document)
{
	char *out = json_dumps(document, FORMAT);

	json_decref(document);
	return out;
}

char *report_json(const struct ledger *ledger, const struct vitals *vitals)
{
	const struct ledger_daemon *d = ledger_daemon(ledger);
	json_t *out = json_object(), *pools = json_array();
	struct place at = { 0, 0 };

	for (uint32_t i = 0; i < ledger_counts(ledger)->pools; i++)
		json_array_append_new(pools, pool(ledger, vitals, ledger_pool(ledger, i), &at));
	set(out, "version", text(d->version));
	set(out, "pid", json_integer(d->pid));
	set(out, "now", seconds(d->now));
	set(out, "started", moment(d->started_at));
	set(out, "state", name(names_phase(d->phase)));
	set(out, "reloads", changes(&d->reloads));
	set(out, "upgrades", changes(&d->upgrades));
	set(out, "retirement", name(names_retirement(d->retirement)));
	set(out, "gate", gate(d));
	set(out, "pools", pools);
	set(out, "events", events(ledger));
	return print(out);
}

char *report_health(const struct ledger *ledger, bool *healthy)
{
	uint32_t phase = ledger_daemon(ledger)->phase, pools = ledger_counts(ledger)->pools;
	char *out = NULL, clean[3 * LEDGER_REASON];
	size_t size = 0;
	FILE *to = open_memstream(&out, &size);

	*healthy = phase == LEDGER_SERVING;
	if (to == NULL)
		return NULL;
	if (phase != LEDGER_SERVING)
		fprintf(to, "preforkd: %s\n", names_phase(phase));
	for (uint32_t i = 0; i < pools; i++) {
		const struct ledger_pool *p = ledger_pool(ledger, i);

		if (p->healthy)
			continue;
		*healthy = false;
		fprintf(to, "pool %s: %s\n", p->name, text_utf8(p->reason, clean, sizeof(clean)));
	}
	if (*healthy)
		fputs("ok\n", to);
	fclose(to);
	return out;
}

char *report_answer(bool ok, const char *message)
{
	json_t *out = json_object();

	set(out, "ok", json_boolean(ok));
	set(out, "message", text(message));
	return print(out);
}
