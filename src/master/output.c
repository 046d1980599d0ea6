/*
 * output: reads the pipes of the workers.
 */
#include "master/output.h"

#include <errno.h>
#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "common/conf.h"
#include "common/err.h"
#include "common/log.h"
#include "common/private.h"
#include "master/lines.h"
#include "master/state.h"

#define LINES_PER_SECOND 1000u  /* of one pool */
#define LAST_BYTES (256 * 1024) /* taken from the pipe of a dead worker at most */

struct output_sink {
	char name[40];
	struct log_file *file; /* NULL: into the log */
	time_t second;         /* of the rate limit */
	unsigned lines, dropped;
};

struct output {
	struct output_sink *sink;
	struct event *event;
	int fd;
	pid_t pid;
	struct lines lines;
};

struct carried {
	int fd;
	struct state_blob line;
};

static const struct state_row rows[] = {
	STATE_ROW(FD, struct carried, fd, 0),
	STATE_ROW(BLOB, struct carried, line, 0),
	STATE_END,
};

struct output_sink *output_sink_open(const struct conf_pool *pool, struct err *err)
{
	struct output_sink *sink = calloc(1, sizeof(*sink));

	if (sink == NULL) {
		err_set(err, EX_OSERR, "out of memory");
		return NULL;
	}
	snprintf(sink->name, sizeof(sink->name), "%s", pool->name);
	if (pool->output[0] == '/' && (sink->file = log_file_open(pool->output, err)) == NULL) {
		free(sink);
		return NULL;
	}
	return sink;
}

int output_sink_reopen(struct output_sink *sink, struct err *err)
{
	struct err why;

	if (sink->file == NULL || log_file_reopen(sink->file, &why) == 0)
		return 0;
	err_set(err, why.code, "pool %s: output stays in the old file: %s", sink->name, why.text);
	log_err("%s", err->text);
	return -1;
}

static void report_dropped(struct output_sink *sink)
{
	if (sink->dropped > 0)
		log_warning("pool %s: %u lines of output dropped: more than %u in a second",
			sink->name, sink->dropped, LINES_PER_SECOND);
	sink->dropped = 0;
}

void output_sink_close(struct output_sink *sink)
{
	if (sink == NULL)
		return;
	report_dropped(sink);
	log_file_close(sink->file);
	free(sink);
}

static bool within_rate(struct output_sink *sink)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	if (now.tv_sec != sink->second) {
		report_dropped(sink);
		sink->second = now.tv_sec;
		sink->lines = 0;
	}
	if (sink->lines++ < LINES_PER_SECOND)
		return true;
	sink->dropped++;
	return false;
}

/* Escaped it is four times as long at most, and the log takes 4000. */
static void emit(struct output *o, const struct lines_line *raw)
{
	char text[LINES_LONGEST * 4 + 8], line[sizeof(text) + 96];

	if (within_rate(o->sink)) {
		log_escape(raw->bytes, raw->length, text, sizeof(text));
		if (o->sink->file != NULL) {
			snprintf(line, sizeof(line), "pool %s: worker %d: %s", o->sink->name,
				(int)o->pid, text);
			log_file_line(o->sink->file, line);
		} else {
			log_output("pool %s: worker %d: %s", o->sink->name, (int)o->pid, text);
		}
	}
}

static void take(struct output *o, const char *bytes, size_t length)
{
	struct lines_line line;

	for (size_t at = 0; at < length;) {
		at += lines_next(&o->lines, bytes + at, length - at, &line);
		if (line.bytes != NULL)
			emit(o, &line);
	}
}

/* One read per turn of the loop: a worker that floods shares the master with all others. */
static void on_readable(int fd, short what, void *arg)
{
	struct output *o = arg;
	char bytes[16384];
	ssize_t n = read(fd, bytes, sizeof(bytes));

	(void)what;
	if (n > 0)
		take(o, bytes, (size_t)n);
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		event_del(o->event); /* it has closed both; the rest is for waitpid */
}

struct output *output_attach(struct output_sink *sink, struct event_base *base, int fd, pid_t pid)
{
	struct output *o = private_alloc(sizeof(*o));

	if (o == NULL)
		return NULL;
	o->sink = sink;
	o->fd = fd;
	o->pid = pid;
	o->event = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, o);
	if (o->event == NULL || event_add(o->event, NULL) != 0) {
		if (o->event != NULL)
			event_free(o->event);
		private_free(o, sizeof(*o));
		return NULL;
	}
	return o;
}

void output_detach(struct output *o)
{
	char bytes[16384];
	size_t total = 0;
	ssize_t n;

	if (o == NULL)
		return;
	event_free(o->event);
	while (total < LAST_BYTES && (n = read(o->fd, bytes, sizeof(bytes))) > 0) {
		take(o, bytes, (size_t)n);
		total += (size_t)n;
	}
	struct lines_line last = lines_last(&o->lines);
	if (last.bytes != NULL)
		emit(o, &last);
	close(o->fd);
	private_free(o, sizeof(*o));
}

void output_save(const struct output *o, struct state_out *out)
{
	struct lines_line rest = lines_rest(&o->lines);
	struct carried c = { .fd = o->fd, .line = { .length = rest.length } };

	c.line.bytes = malloc(sizeof(o->lines.bytes));
	if (c.line.bytes != NULL)
		memcpy(c.line.bytes, rest.bytes, rest.length);
	else
		c.line.length = 0;
	state_put(out, "output", rows, &c);
	free(c.line.bytes);
}

struct output *output_restore(struct output_sink *sink, struct event_base *base, pid_t pid,
	struct state_in *in, struct err *err)
{
	struct carried c = { .fd = -1 };
	struct output *o = NULL;

	if (state_take(in, "output", rows, &c, err) != 0)
		return NULL;
	if (c.fd >= 0 && c.line.length <= sizeof(o->lines.bytes))
		o = output_attach(sink, base, c.fd, pid);
	if (o == NULL)
		err_set(err, EX_OSERR, "cannot follow the output of worker %d", (int)pid);
	else
		take(o, c.line.bytes != NULL ? c.line.bytes : "", c.line.length);
	free(c.line.bytes);
	return o;
}
