/*
 * events: a ring. The log is one for the whole process, and so is this.
 */
#include "master/events.h"

#include <stdint.h>
#include <stdio.h>
#include <syslog.h>

#include "common/clock.h"
#include "common/ledger.h"
#include "common/log.h"
#include "master/state.h"

static struct {
	struct ledger_event lines[EVENTS_MAX];
	size_t count; /* since the start */
} ring;

static const struct state_row rows[] = {
	STATE_ROW(NUMBER, struct ledger_event, at, UINT64_MAX),
	STATE_ROW(NUMBER, struct ledger_event, level, LOG_DEBUG),
	STATE_ROW(TEXT, struct ledger_event, text, 0),
	STATE_END,
};

static struct ledger_event *next_line(void)
{
	return &ring.lines[ring.count++ % EVENTS_MAX];
}

static void note(int level, const char *line)
{
	struct ledger_event *e = next_line();

	e->at = clock_wall_ms();
	e->level = (uint32_t)level;
	snprintf(e->text, sizeof(e->text), "%s", line);
}

void events_keep(void)
{
	log_tap(note);
}

size_t events_copy(struct ledger_event *out)
{
	size_t n = ring.count < EVENTS_MAX ? ring.count : EVENTS_MAX;

	for (size_t i = 0; i < n; i++)
		out[i] = ring.lines[(ring.count - n + i) % EVENTS_MAX];
	return n;
}

void events_save(struct state_out *out)
{
	static struct ledger_event lines[EVENTS_MAX];
	size_t n = events_copy(lines);

	for (size_t i = 0; i < n; i++)
		state_put(out, "event", rows, &lines[i]);
}

int events_restore(struct state_in *in, struct err *err)
{
	while (state_has(in, "event")) {
		struct ledger_event e = { 0 };

		if (state_take(in, "event", rows, &e, err) != 0)
			return -1;
		*next_line() = e;
	}
	return 0;
}
