/*
 * succession: each failure leaves the old program in service, as that of a reload leaves the old
 * workers.
 */
#include "master/succession.h"

#include "common/err.h"
#include "common/log.h"
#include "master/history.h"
#include "master/orders.h"
#include "master/origin.h"
#include "master/state.h"
#include "master/tell.h"

static void fail(struct succession *s, const struct err *err)
{
	log_err("upgrade %u failed, the old program serves on: %s", s->heritage->reloads,
		err->text);
	history_failed(&s->heritage->upgrade_history, err->text);
	tell_failed(s->parts->pidfile, s->heritage->reloads, s->parts->fleet, err->text);
	orders_end(s->parts->orders, GATEJOB_UPGRADE, GATEJOB_FAILED, err->text);
}

static struct state_out *save(struct succession *s, struct err *err)
{
	return heritage_save(s->heritage, s->parts, err);
}

void succession_begin(struct succession *s, struct event_base *base, uint64_t now)
{
	struct err err;

	s->heritage->upgrade_wanted = false;
	s->heritage->reloads++;
	history_begins(&s->heritage->upgrade_history);
	orders_begin(s->parts->orders, GATEJOB_UPGRADE, NULL);
	tell_running(s->parts->pidfile, s->heritage->reloads, "Upgrading", now);
	log_notice("upgrade %u begins: asks %s", s->heritage->reloads, s->parts->origin->binary);
	struct state_out *state = save(s, &err);
	if (state == NULL ||
		upgrade_ask(&s->upgrade, base, s->parts->origin, state, now, &err) != 0)
		fail(s, &err);
	state_drop(state);
}

bool succession_follow(struct succession *s, uint64_t now, uint64_t *next)
{
	struct err err;

	switch (upgrade_follow(&s->upgrade, s->parts->origin, next, now, &err)) {
	case UPGRADE_GRANTED:
		return true;
	case UPGRADE_REFUSED:
		fail(s, &err);
		*next = now;
		return false;
	default:
		return false;
	}
}

void succession_execute(struct succession *s)
{
	struct err err;
	struct state_out *state = save(s, &err);

	log_notice("upgrade %u: executes %s", s->heritage->reloads, s->parts->origin->binary);
	if (state != NULL)
		upgrade_execute(s->parts->origin, state, &err);
	fail(s, &err);
	state_drop(state);
}
