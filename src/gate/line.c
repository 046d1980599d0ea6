/*
 * line: one question for a snapshot at a time, and none while the last answer is fresh: clients may
 * ask as often as they like, the master is asked ten times a second at most.
 */
#include "gate/line.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "common/clock.h"
#include "common/ledger.h"

#define FRESH 100          /* ms */
#define PATIENCE_SECONDS 2 /* until those who wait for a snapshot hear that there is none */

struct reader {
	line_reader call;
	void *arg;
	STAILQ_ENTRY(reader) next;
};

struct command {
	uint64_t id; /* 0: none */
	line_listener call;
	void *arg;
};

STAILQ_HEAD(readers, reader);

struct line {
	int fd;
	struct event *event, *timeout;
	struct ledger *ledger;
	struct line_news news;
	uint64_t last_id;
	uint64_t asked; /* the snapshot that is on its way; 0: none */
	bool written;   /* the ledger has been, once */
	uint64_t taken_at, serial;
	struct readers readers;
	struct command commands[GATEJOB_ORDERS_MAX];
	bool ended;
};

static bool send_request(struct line *l, const struct gatejob_request *request)
{
	return !l->ended && send(l->fd, request, sizeof(*request), MSG_NOSIGNAL | MSG_DONTWAIT) ==
				    (ssize_t)sizeof(*request);
}

/* Each may ask for another snapshot. */
static void deliver(struct line *l, const struct ledger *ledger)
{
	struct readers now = STAILQ_HEAD_INITIALIZER(now);

	STAILQ_CONCAT(&now, &l->readers);
	evtimer_del(l->timeout);
	while (!STAILQ_EMPTY(&now)) {
		struct reader *r = STAILQ_FIRST(&now);

		STAILQ_REMOVE_HEAD(&now, next);
		r->call(ledger, r->arg);
		free(r);
	}
}

static void on_snapshot(struct line *l, enum gatejob_status status)
{
	l->asked = 0;
	if (status == GATEJOB_DONE && ledger_refresh(l->ledger) == 0) {
		l->written = true;
		l->taken_at = clock_ms();
		l->serial++;
	} else if (status != GATEJOB_MOVED || !l->written) {
		deliver(l, NULL);
		return;
	}
	deliver(l, l->ledger);
}

static void on_done(struct line *l, const struct gatejob_answer *a)
{
	for (size_t i = 0; i < GATEJOB_ORDERS_MAX; i++) {
		struct command c = l->commands[i];

		if (c.id != a->id)
			continue;
		l->commands[i].id = 0;
		l->taken_at = 0; /* whoever looks now wants to see what it has changed */
		c.call((enum gatejob_status)a->status, a->text, c.arg);
		return;
	}
}

static void end(struct line *l)
{
	l->ended = true;
	event_del(l->event);
	l->news.ended(l->news.arg);
	deliver(l, NULL);
	for (size_t i = 0; i < GATEJOB_ORDERS_MAX; i++) {
		struct command c = l->commands[i];

		l->commands[i].id = 0;
		if (c.id != 0)
			c.call(GATEJOB_BUSY, "the master has gone before it has answered", c.arg);
	}
}

static void on_readable(int fd, short what, void *arg)
{
	struct line *l = arg;
	struct gatejob_answer answer;
	ssize_t n = recv(fd, &answer, sizeof(answer), MSG_DONTWAIT);

	(void)what;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n != (ssize_t)sizeof(answer)) {
		end(l);
		return;
	}
	answer.text[sizeof(answer.text) - 1] = '\0';
	if (answer.status == GATEJOB_RELIEVED)
		l->news.relieved(l->news.arg);
	else if (answer.id == l->asked)
		on_snapshot(l, (enum gatejob_status)answer.status);
	else
		on_done(l, &answer);
}

static void on_timeout(int fd, short what, void *arg)
{
	(void)fd, (void)what;
	deliver(arg, NULL);
}

struct line *line_open(struct event_base *base, int fd, int ledger_fd, const struct line_news *news)
{
	struct line *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return NULL;
	l->fd = fd;
	l->news = *news;
	STAILQ_INIT(&l->readers);
	l->ledger = ledger_open(ledger_fd);
	l->event = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, l);
	l->timeout = evtimer_new(base, on_timeout, l);
	if (l->ledger == NULL || l->event == NULL || l->timeout == NULL ||
		event_add(l->event, NULL) != 0)
		return NULL; /* the process ends */
	return l;
}

static bool wait_for_snapshot(struct line *l, line_reader reader, void *arg)
{
	const struct timeval patience = { PATIENCE_SECONDS, 0 };
	struct reader *r = malloc(sizeof(*r));

	if (r == NULL)
		return false;
	*r = (struct reader){ .call = reader, .arg = arg };
	if (STAILQ_EMPTY(&l->readers))
		evtimer_add(l->timeout, &patience);
	STAILQ_INSERT_TAIL(&l->readers, r, next);
	return true;
}

bool line_snapshot(struct line *l, line_reader reader, void *arg)
{
	if (l->asked == 0 && l->written && clock_ms() < l->taken_at + FRESH) {
		reader(l->ledger, arg);
		return true;
	}
	if (l->asked == 0) {
		struct gatejob_request request = { .id = ++l->last_id, .verb = GATEJOB_SNAPSHOT };

		if (!send_request(l, &request)) {
			reader(NULL, arg);
			return true;
		}
		l->asked = request.id;
	}
	return wait_for_snapshot(l, reader, arg);
}

uint64_t line_serial(const struct line *l)
{
	return l->serial;
}

bool line_command(struct line *l, enum gatejob_verb verb, const char *pool, unsigned number,
	line_listener listener, void *arg)
{
	struct gatejob_request request = { .id = ++l->last_id, .verb = verb, .number = number };
	size_t i = 0;

	snprintf(request.pool, sizeof(request.pool), "%s", pool);
	while (i < GATEJOB_ORDERS_MAX && l->commands[i].id != 0)
		i++;
	if (i == GATEJOB_ORDERS_MAX || !send_request(l, &request))
		return false;
	l->commands[i] = (struct command){ .id = request.id, .call = listener, .arg = arg };
	return true;
}
