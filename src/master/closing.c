/*
 * closing: samples the queues. A queue of ours only gets shorter once its door is closed; one that
 * was handed in, or that the kernel does not close, may never end, so it gets a moment only.
 */
#include "master/closing.h"

#include <inttypes.h>

#include "common/conf.h"
#include "common/log.h"
#include "master/generation.h"
#include "master/listen.h"
#include "master/policy.h"
#include "master/queue.h"
#include "master/roster.h"
#include "master/watch.h"

#define PAUSE_MIN 1  /* ms between two looks at the queues */
#define PAUSE_MAX 16 /* ms */
#define SETTLE_MS 3  /* a handshake that was under way when the door was closed ends by then */
#define OPEN_MS 1000 /* for a queue that newcomers still get into */
#define WAIT_SHARE 2 /* of stop-timeout; the rest is for the requests in hand */

static uint64_t until(const struct closing *c, const struct generation *g, enum listen_door door)
{
	uint64_t share = g->conf->stop_timeout / WAIT_SHARE;

	if (door != LISTEN_CLOSED && share > OPEN_MS)
		share = OPEN_MS;
	return c->since + share;
}

/* One that is shared is somebody else's matter. */
static unsigned waiting(const struct listener *l)
{
	struct queue queue = { 0 };

	if (l->door != LISTEN_SHARED)
		queue_read(l->fd, &queue);
	return queue.waiting;
}

/* One look at every queue: what it says must not change between two questions. awaited: of those
 * who are left, somebody is to be served before the workers leave, and there is time. */
static unsigned look(
	const struct closing *c, const struct generation *g, uint64_t now, bool *awaited)
{
	unsigned left = 0;

	*awaited = false;
	for (size_t i = 0; i < g->listener_count; i++) {
		unsigned n = waiting(g->listeners[i]);

		left += n;
		if (n > 0 && now < until(c, g, g->listeners[i]->door))
			*awaited = true;
	}
	return left;
}

void closing_begin(struct closing *c, const struct generation *g, uint64_t now)
{
	*c = (struct closing){
		.state = CLOSING_SERVES, .since = now, .at = now, .pause = PAUSE_MIN
	};
	bool awaited;

	for (size_t i = 0; i < g->listener_count; i++)
		listen_close(g->listeners[i]);
	c->waited = look(c, g, now, &awaited);
	if (c->waited > 0)
		log_notice("pool %s: nobody is let in any more; %u that wait are served before its "
			   "workers leave",
			g->conf->name, c->waited);
}

static void tell_end(const struct closing *c, const struct generation *g, uint64_t now)
{
	if (c->waited > 0)
		log_info("pool %s: nobody waits any more after %" PRIu64 " ms, its workers leave",
			g->conf->name, now - c->since);
}

/* Who is left when no more time is. */
static void tell_left(const struct generation *g, bool nobody)
{
	for (size_t i = 0; i < g->listener_count; i++) {
		const struct listener *l = g->listeners[i];
		unsigned left = waiting(l);
		const char *why = l->door == LISTEN_CLOSED
					  ? "its workers were busy for half of stop-timeout"
					  : "newcomers cannot be refused there";

		if (left > 0 && l->door == LISTEN_LENT)
			log_info("pool %s: its workers leave, though %u wait at %s, which stays "
				 "open",
				g->conf->name, left, l->text);
		else if (left > 0)
			log_warning("pool %s: %u that wait at %s are not served: %s", g->conf->name,
				left, l->text, nobody ? "no worker can be started" : why);
	}
}

bool closing_follow(struct closing *c, const struct generation *g, const struct roster *roster,
	bool failing, uint64_t now, uint64_t *next)
{
	bool nobody = failing && roster_alive(roster) == 0, awaited;

	*next = c->at;
	if (now < c->at)
		return false;
	unsigned left = look(c, g, now, &awaited);
	if (!nobody && awaited) {
		c->state = CLOSING_SERVES;
		c->at = policy_earlier(now + c->pause, until(c, g, LISTEN_CLOSED));
		c->pause = c->pause * 2 < PAUSE_MAX ? c->pause * 2 : PAUSE_MAX;
		*next = c->at;
		return false;
	}
	if (left > 0) {
		tell_left(g, nobody);
		return true;
	}
	if (c->state == CLOSING_SETTLES) {
		tell_end(c, g, now);
		return true;
	}
	c->state = CLOSING_SETTLES;
	*next = c->at = now + SETTLE_MS;
	return false;
}

void closing_end(struct closing *c, const struct generation *g, const struct roster *roster)
{
	for (unsigned s = 1; s <= roster->slots; s++)
		if (roster->members[s].watch != NULL && roster->members[s].generation == g)
			watch_hurry(roster->members[s].watch, c->since + g->conf->stop_timeout);
	c->state = CLOSING_NOT;
}

bool closing_is_underway(const struct closing *c)
{
	return c->state == CLOSING_SERVES || c->state == CLOSING_SETTLES;
}
