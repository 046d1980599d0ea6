/*
 * reload: a failure anywhere leaves the old workers in service.
 */
#include "master/reload.h"

#include <stdio.h>

#include "common/clock.h"
#include "common/conf.h"
#include "common/err.h"
#include "common/log.h"
#include "master/check.h"
#include "master/fleet.h"
#include "master/heritage.h"
#include "master/history.h"
#include "master/orders.h"
#include "master/tell.h"

void reload_log(const struct reload *r)
{
	const struct conf *conf = fleet_conf(r->parts->fleet);
	struct err err;

	if (log_open(r->foreground ? "stderr" : conf->log, conf->log_level, &err) != 0)
		log_err("the log stays where it is: %s", err.text);
}

/* Who asked for an upgrade waits for its reload, and who asked for a reload for that. */
static void end(const struct reload *r, enum gatejob_status status, const char *text)
{
	struct ledger_changes *history = r->heritage->upgrading ? &r->heritage->upgrade_history
								: &r->heritage->reload_history;

	if (status == GATEJOB_DONE)
		history_done(history);
	else
		history_failed(history, text);
	if (r->heritage->upgrading)
		orders_end(r->parts->orders, GATEJOB_UPGRADE, status, text);
	r->heritage->upgrading = false;
	orders_end(r->parts->orders, GATEJOB_RELOAD, status, text);
}

void reload_done(const struct reload *r)
{
	char serving[64], text[128];

	reload_log(r);
	tell_strength(r->parts->fleet, serving, sizeof(serving));
	log_notice("reload %u done: %s", r->heritage->reloads, serving);
	tell_done(r->parts->pidfile, r->heritage->reloads, r->parts->fleet);
	snprintf(text, sizeof(text), "%s %u done: %s",
		r->heritage->upgrading ? "upgrade" : "reload", r->heritage->reloads, serving);
	end(r, GATEJOB_DONE, text);
}

void reload_failed(const struct reload *r, const struct err *err)
{
	log_err("reload %u failed, the old workers serve on: %s", r->heritage->reloads, err->text);
	tell_failed(r->parts->pidfile, r->heritage->reloads, r->parts->fleet, err->text);
	end(r, GATEJOB_FAILED, err->text);
}

/* From the configuration as it is on disk now. */
static void transact(const struct reload *r, const char *pool)
{
	struct err err;
	struct conf *conf = check_read(r->options, !r->foreground, &err);

	if (conf != NULL && fleet_prepare(r->parts->fleet, conf, pool, clock_ms(), &err) == 0)
		return;
	conf_free(conf);
	reload_failed(r, &err);
}

void reload_begin(const struct reload *r, const char *pool)
{
	char name[GATEJOB_POOL] = "";

	/* It may be that of an order, which ends with the reload. */
	if (pool != NULL)
		snprintf(name, sizeof(name), "%s", pool);
	r->heritage->reloads++;
	history_begins(&r->heritage->reload_history);
	tell_running(r->parts->pidfile, r->heritage->reloads, "Reloading", clock_ms());
	log_notice(
		"reload %u begins%s%s", r->heritage->reloads, pool != NULL ? ": pool " : "", name);
	orders_begin(r->parts->orders, pool != NULL ? GATEJOB_RELOAD_POOL : GATEJOB_RELOAD, pool);
	transact(r, pool != NULL ? name : NULL);
}

void reload_resume(const struct reload *r)
{
	r->heritage->upgrading = true;
	log_notice("upgrade %u: the new program has taken over, its workers come",
		r->heritage->reloads);
	orders_begin(r->parts->orders, GATEJOB_RELOAD, NULL);
	transact(r, NULL);
}
