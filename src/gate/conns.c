/*
 * conns: counts what evhttp accepts.
 *
 * evhttp tells nobody of a connection that sends no request. So each gets a bufferevent of ours,
 * and right after that is taken up, before anything can be read, we ask it whose it is.
 */
#include "gate/conns.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/queue.h>

#include "common/clock.h"

#define SURPLUS 16       /* so many more hear that there are too many */
#define HEAD_MAX 8192    /* bytes of a request's head */
#define BODY_MAX 4096    /* nobody reads it */
#define INPUT_MAX 16384  /* bytes that are taken before they are looked at; evhttp sets no limit */
#define QUIET_SECONDS 20 /* a connection without a byte goes */
#define REQUEST_MS 30000 /* so long may a request take to come, or the next to begin */
#define WRITE_MS 60000   /* and an answer to be taken */
#define HURRY_MS 2000    /* and that where others want a place */
#define NEWS_MS 1000
#define SWEEP_SECONDS 5
#define EVERY_METHOD 0xffff /* those that we do not know are answered by us, too */

enum stage { STAGE_IDLE, STAGE_ASKED, STAGE_ANSWERED };

struct conn {
	struct bufferevent *bev; /* until it is known whose it is */
	struct evhttp_connection *evcon;
	struct conns *conns;
	enum stage stage;
	bool surplus;
	uint64_t since; /* the stage */
	TAILQ_ENTRY(conn) next;
};

TAILQ_HEAD(conn_list, conn);

struct conns {
	struct evhttp *http;
	struct evhttp_bound_socket *bound;
	size_t most, count;
	struct conn_list fresh, all; /* the oldest stage first */
	struct event *adopt, *sweep;
	conns_handler handler;
	void (*empty)(void *arg);
	void *arg;
	bool closed, parting;
};

static void enter(struct conn *c, enum stage stage)
{
	c->stage = stage;
	c->since = clock_ms();
	TAILQ_REMOVE(&c->conns->all, c, next);
	TAILQ_INSERT_TAIL(&c->conns->all, c, next);
}

static void on_closed(struct evhttp_connection *evcon, void *arg)
{
	struct conn *c = arg;
	struct conns *all = c->conns;

	(void)evcon;
	TAILQ_REMOVE(&all->all, c, next);
	all->count--;
	free(c);
	if (all->closed && all->count == 0)
		all->empty(all->arg);
}

/* It has just come, perhaps with a whole request that nobody has read yet. */
static bool has_news(const struct conn *c, uint64_t now)
{
	struct bufferevent *bev = evhttp_connection_get_bufferevent(c->evcon);
	int bytes = 0;

	return now < c->since + NEWS_MS && evbuffer_get_length(bufferevent_get_input(bev)) == 0 &&
	       ioctl(bufferevent_getfd(bev), FIONREAD, &bytes) == 0 && bytes > 0;
}

static bool may_go(const struct conn *c, enum stage stage, uint64_t now)
{
	if (c->stage != stage || c->surplus)
		return false;
	return stage == STAGE_IDLE ? !has_news(c, now) : now > c->since + HURRY_MS;
}

/* The one that has waited longest for a request; else one that does not take its answer. */
static struct conn *find_victim(struct conns *all, const struct conn *newest)
{
	static const enum stage stages[] = { STAGE_IDLE, STAGE_ANSWERED };
	uint64_t now = clock_ms();

	for (size_t i = 0; i < sizeof(stages) / sizeof(stages[0]); i++) {
		struct conn *c;

		for (c = TAILQ_FIRST(&all->all); c != NULL; c = TAILQ_NEXT(c, next))
			if (c != newest && may_go(c, stages[i], now))
				return c;
	}
	return NULL;
}

static void make_room(struct conns *all, struct conn *c)
{
	struct conn *victim = find_victim(all, c);

	if (victim != NULL) {
		evhttp_connection_free(victim->evcon);
		return;
	}
	c->surplus = true;
	if (all->count > all->most + SURPLUS)
		evhttp_connection_free(c->evcon);
}

static void take_up(struct conns *all, struct conn *c)
{
	const struct timeval pause = { SWEEP_SECONDS, 0 };
	void *evcon = NULL;

	bufferevent_getcb(c->bev, NULL, NULL, NULL, &evcon);
	bufferevent_decref(c->bev);
	c->bev = NULL;
	if (evcon == NULL) { /* it was given up at once */
		free(c);
		return;
	}
	c->evcon = evcon;
	c->since = clock_ms();
	TAILQ_INSERT_TAIL(&all->all, c, next);
	evhttp_connection_set_closecb(c->evcon, on_closed, c);
	if (all->count++ == 0)
		event_add(all->sweep, &pause);
	if (all->count > all->most)
		make_room(all, c);
}

static void take_up_all(struct conns *all)
{
	struct conn *c;

	while ((c = TAILQ_FIRST(&all->fresh)) != NULL) {
		TAILQ_REMOVE(&all->fresh, c, next);
		take_up(all, c);
	}
}

static void on_adopt(int fd, short what, void *arg)
{
	(void)fd, (void)what;
	take_up_all(arg);
}

static struct bufferevent *on_accept(struct event_base *base, void *arg)
{
	struct conns *all = arg;

	take_up_all(all); /* many may be accepted in one go, and some of them have to go again */
	struct bufferevent *bev = bufferevent_socket_new(base, -1, 0);
	struct conn *c = bev == NULL ? NULL : calloc(1, sizeof(*c));
	if (c == NULL)
		return bev;
	bufferevent_setwatermark(bev, EV_READ, 0, INPUT_MAX);
	bufferevent_incref(bev);
	c->bev = bev;
	c->conns = all;
	TAILQ_INSERT_TAIL(&all->fresh, c, next);
	event_active(all->adopt, EV_TIMEOUT, 0);
	return bev;
}

static bool is_overdue(const struct conn *c, uint64_t now)
{
	if (c->stage == STAGE_IDLE)
		return now > c->since + REQUEST_MS;
	return c->stage == STAGE_ANSWERED && now > c->since + WRITE_MS;
}

/* Nobody is woken while there is no connection. */
static void on_sweep(int fd, short what, void *arg)
{
	const struct timeval pause = { SWEEP_SECONDS, 0 };
	struct conns *all = arg;
	uint64_t now = clock_ms();
	struct conn *c, *next;

	(void)fd, (void)what;
	for (c = TAILQ_FIRST(&all->all); c != NULL; c = next) {
		next = TAILQ_NEXT(c, next);
		if (is_overdue(c, now))
			evhttp_connection_free(c->evcon);
	}
	if (all->count > 0)
		event_add(all->sweep, &pause);
}

static struct conn *find(struct conns *all, struct evhttp_request *request)
{
	struct evhttp_connection *evcon = evhttp_request_get_connection(request);
	struct conn *c;

	for (c = TAILQ_FIRST(&all->all); c != NULL; c = TAILQ_NEXT(c, next))
		if (c->evcon == evcon)
			return c;
	return NULL;
}

static void on_sent(struct evhttp_request *request, void *arg)
{
	struct conn *c = find(arg, request);

	if (c != NULL)
		enter(c, STAGE_IDLE);
}

static void on_request(struct evhttp_request *request, void *arg)
{
	struct conns *all = arg;
	struct conn *c = find(all, request);

	if (c != NULL)
		enter(c, STAGE_ASKED);
	evhttp_request_set_on_complete_cb(request, on_sent, all);
	if (c == NULL || c->surplus || all->parting)
		evhttp_add_header(
			evhttp_request_get_output_headers(request), "Connection", "close");
	all->handler(request, c == NULL || c->surplus, all->arg);
}

void conns_answered(struct conns *all, struct evhttp_request *request)
{
	struct conn *c = find(all, request);

	if (c == NULL)
		return;
	enter(c, STAGE_ANSWERED);
	if (all->closed)
		evhttp_add_header(
			evhttp_request_get_output_headers(request), "Connection", "close");
}

struct conns *conns_open(struct event_base *base, int fd, size_t most, conns_handler handler,
	void (*empty)(void *arg), void *arg)
{
	struct conns *all = calloc(1, sizeof(*all));

	if (all == NULL)
		return NULL;
	*all = (struct conns){ .most = most, .handler = handler, .empty = empty, .arg = arg };
	TAILQ_INIT(&all->fresh);
	TAILQ_INIT(&all->all);
	all->adopt = event_new(base, -1, 0, on_adopt, all);
	all->sweep = evtimer_new(base, on_sweep, all);
	all->http = evhttp_new(base);
	if (all->adopt == NULL || all->sweep == NULL || all->http == NULL)
		return NULL; /* the process ends */
	evhttp_set_bevcb(all->http, on_accept, all);
	evhttp_set_gencb(all->http, on_request, all);
	evhttp_set_allowed_methods(all->http, EVERY_METHOD);
	evhttp_set_max_headers_size(all->http, HEAD_MAX);
	evhttp_set_max_body_size(all->http, BODY_MAX);
	evhttp_set_timeout(all->http, QUIET_SECONDS);
	all->bound = evhttp_accept_socket_with_handle(all->http, fd);
	return all->bound == NULL ? NULL : all;
}

void conns_close(struct conns *all)
{
	if (all->closed)
		return;
	all->closed = true;
	evhttp_del_accept_socket(all->http, all->bound);
}

void conns_part(struct conns *all)
{
	struct conn *c, *next;

	all->parting = true;
	for (c = TAILQ_FIRST(&all->all); c != NULL; c = next) {
		next = TAILQ_NEXT(c, next);
		if (c->stage == STAGE_IDLE)
			evhttp_connection_free(c->evcon);
	}
}

size_t conns_count(const struct conns *all)
{
	return all->count;
}
