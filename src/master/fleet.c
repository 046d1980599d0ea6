/*
 * fleet: the pools and the transaction. Never reads a file or the clock, never writes to systemd:
 * it is told a checked configuration, and tells what became of it.
 */
#include "master/fleet.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "common/conf.h"
#include "common/err.h"
#include "common/log.h"
#include "master/carry.h"
#include "master/carryconf.h"
#include "master/listen.h"
#include "master/pool.h"
#include "master/quota.h"
#include "master/state.h"
#include "master/tracee.h"

/* A configuration that is no longer current lives as long as workers that point into it. */
struct old_conf {
	struct conf *conf;
	unsigned number;
	struct old_conf *next;
};

struct fleet {
	const struct watch_context *context;
	struct listen_set *listeners;
	struct pool **pools;
	size_t pool_count;
	struct conf *conf; /* in force; NULL before the first commit */
	unsigned conf_number;
	struct conf *next; /* of the transaction under way; NULL: none */
	char only[40];     /* the pool that it is about; empty: all */
	unsigned number;   /* of the newest configuration */
	struct old_conf *old;
};

static const struct state_row rows[] = {
	STATE_ROW(NUMBER, struct fleet, number, UINT_MAX),
	STATE_ROW(NUMBER, struct fleet, conf_number, UINT_MAX),
	STATE_END,
};

struct fleet *fleet_new(const struct watch_context *context, struct listen_set *listeners)
{
	struct fleet *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return NULL;
	f->context = context;
	f->listeners = listeners;
	return f;
}

void fleet_free(struct fleet *f)
{
	for (size_t i = 0; i < f->pool_count; i++)
		pool_free(f->pools[i]);
	for (struct old_conf *o = f->old, *next; o != NULL; o = next) {
		next = o->next;
		conf_free(o->conf);
		free(o);
	}
	conf_free(f->conf);
	conf_free(f->next);
	listen_free(f->listeners);
	free(f->pools);
	free(f);
}

struct pool *fleet_find(const struct fleet *f, const char *name)
{
	for (size_t i = 0; i < f->pool_count; i++)
		if (strcmp(pool_name(f->pools[i]), name) == 0 && !pool_is_stopped(f->pools[i]))
			return f->pools[i];
	return NULL;
}

static int make_room(struct fleet *f)
{
	struct pool **pools = realloc(f->pools, (f->pool_count + 1) * sizeof(struct pool *));

	if (pools == NULL)
		return -1;
	f->pools = pools;
	return 0;
}

static struct pool *add_pool(struct fleet *f, const char *name)
{
	struct pool *pool = make_room(f) == 0 ? pool_new(name, f->context, f->listeners) : NULL;

	if (pool != NULL)
		f->pools[f->pool_count++] = pool;
	return pool;
}

/* Pools that were removed, once their last worker is gone. */
static void drop_stopped_pools(struct fleet *f)
{
	size_t kept = 0;

	for (size_t i = 0; i < f->pool_count; i++) {
		if (pool_is_stopped(f->pools[i]) && pool_is_empty(f->pools[i]))
			pool_free(f->pools[i]);
		else
			f->pools[kept++] = f->pools[i];
	}
	f->pool_count = kept;
}

static bool in_use(const struct fleet *f, unsigned number)
{
	for (size_t i = 0; i < f->pool_count; i++)
		if (pool_uses(f->pools[i], number))
			return true;
	return false;
}

/* Without memory for the entry it is never freed, which harms less than freeing it too early. */
static void put_aside(struct fleet *f, struct conf *conf, unsigned number)
{
	struct old_conf *o = conf == NULL ? NULL : malloc(sizeof(*o));

	if (o == NULL)
		return;
	*o = (struct old_conf){ .conf = conf, .number = number, .next = f->old };
	f->old = o;
}

static void free_unused_confs(struct fleet *f)
{
	for (struct old_conf **at = &f->old, *o; (o = *at) != NULL;) {
		if (in_use(f, o->number)) {
			at = &o->next;
			continue;
		}
		*at = o->next;
		conf_free(o->conf);
		free(o);
	}
}

static void abort_transaction(struct fleet *f, uint64_t now)
{
	for (size_t i = 0; i < f->pool_count; i++)
		pool_abort(f->pools[i], now);
	put_aside(f, f->next, f->number);
	f->next = NULL;
}

static bool concerns(const struct fleet *f, const char *pool)
{
	return f->only[0] == '\0' || strcmp(f->only, pool) == 0;
}

static int prepare_pools(struct fleet *f, uint64_t now, struct err *err)
{
	for (size_t i = 0; i < f->next->pool_count; i++) {
		const struct conf_pool *conf = f->next->pools[i];

		if (!concerns(f, conf->name))
			continue;
		struct pool *pool = fleet_find(f, conf->name);

		if (pool == NULL)
			pool = add_pool(f, conf->name);
		if (pool == NULL)
			return err_set(err, EX_OSERR, "out of memory");
		if (pool_prepare(pool, conf, f->number, now, err) != 0)
			return -1;
	}
	return 0;
}

/* Two pools must not come to share an address, which one of them would have given up. */
static int check_only(
	const struct fleet *f, const struct conf_pool *conf, const char *name, struct err *err)
{
	if (conf == NULL)
		return err_set(err, EX_CONFIG,
			"pool %s is no longer in the configuration: reload all", name);
	for (size_t i = 0; i < conf->listen_count; i++)
		for (size_t p = 0; p < f->pool_count; p++)
			if (strcmp(pool_name(f->pools[p]), name) != 0 &&
				pool_listens(f->pools[p], conf->listen[i].text))
				return err_set(err, EX_CONFIG,
					"%s belongs to pool %s as yet: reload all",
					conf->listen[i].text, pool_name(f->pools[p]));
	return 0;
}

int fleet_prepare(
	struct fleet *f, struct conf *conf, const char *only, uint64_t now, struct err *err)
{
	if (only != NULL && check_only(f, conf_find_pool(conf, only), only, err) != 0)
		return -1;
	snprintf(f->only, sizeof(f->only), "%s", only != NULL ? only : "");
	f->next = conf;
	f->number++;
	if (prepare_pools(f, now, err) == 0)
		return 0;
	f->next = NULL;
	for (size_t i = 0; i < f->pool_count; i++)
		pool_abort(f->pools[i], now);
	for (size_t i = 0; i < f->pool_count; i++)
		(void)pool_reconcile(f->pools[i], now); /* gives back what was opened */
	drop_stopped_pools(f);
	return -1;
}

bool fleet_is_changing(const struct fleet *f)
{
	return f->next != NULL;
}

static void warn_of_restart(const char *pool, const char *key, const char *cost)
{
	if (strcmp(cost, "restart") != 0)
		return;
	if (pool == NULL)
		log_warning("the change of %s takes effect at a restart", key);
	else
		log_warning("pool %s: the change of %s takes effect at a restart where the address "
			    "has not changed",
			pool, key);
}

/* The others go on with what they have, and that stays the configuration in force. */
static void commit_one(struct fleet *f, uint64_t now)
{
	struct pool *pool = fleet_find(f, f->only);

	if (pool != NULL)
		pool_commit(pool, now);
	put_aside(f, f->next, f->number);
	f->next = NULL;
}

static void commit(struct fleet *f, uint64_t now)
{
	if (f->only[0] != '\0') {
		commit_one(f, now);
		return;
	}
	if (f->conf != NULL)
		conf_diff(f->conf, f->next, warn_of_restart);
	for (size_t i = 0; i < f->pool_count; i++) {
		if (conf_find_pool(f->next, pool_name(f->pools[i])) != NULL)
			pool_commit(f->pools[i], now);
		else if (!pool_is_stopped(f->pools[i]))
			pool_stop(f->pools[i], now);
	}
	put_aside(f, f->conf, f->conf_number);
	f->conf = f->next;
	f->conf_number = f->number;
	f->next = NULL;
}

static enum fleet_news go_on(struct fleet *f, uint64_t now, struct err *err)
{
	bool pending = false;

	for (size_t i = 0; i < f->pool_count; i++) {
		enum pool_progress progress = pool_progress(f->pools[i], err);

		if (progress == POOL_FAILED) {
			abort_transaction(f, now);
			return FLEET_FAILED;
		}
		pending = pending || progress == POOL_PENDING;
	}
	if (pending)
		return FLEET_NO_NEWS;
	commit(f, now);
	return FLEET_COMMITTED;
}

enum fleet_news fleet_reconcile(struct fleet *f, uint64_t now, uint64_t *next, struct err *err)
{
	enum fleet_news news = FLEET_NO_NEWS;

	*next = UINT64_MAX;
	for (size_t i = 0; i < f->pool_count; i++) {
		uint64_t wanted = pool_reconcile(f->pools[i], now);

		*next = wanted < *next ? wanted : *next;
	}
	if (f->next != NULL)
		news = go_on(f, now, err);
	if (news != FLEET_NO_NEWS)
		*next = now; /* workers that retire have deadlines now */
	drop_stopped_pools(f);
	free_unused_confs(f);
	return news;
}

void fleet_stop(struct fleet *f, uint64_t now)
{
	if (f->next != NULL)
		abort_transaction(f, now);
	for (size_t i = 0; i < f->pool_count; i++)
		pool_stop(f->pools[i], now);
}

void fleet_cut(struct fleet *f, uint64_t now)
{
	for (size_t i = 0; i < f->pool_count; i++)
		pool_cut(f->pools[i], now);
}

void fleet_scale(struct fleet *f, int by, uint64_t now)
{
	for (size_t i = 0; i < f->pool_count; i++)
		quota_step(f->pools[i], by, now);
}

int fleet_reopen(struct fleet *f, struct err *err)
{
	int rc = 0;

	for (size_t i = 0; i < f->pool_count; i++)
		if (pool_reopen(f->pools[i], err) != 0)
			rc = -1;
	return rc;
}

bool fleet_stopped(struct fleet *f, pid_t pid, int status, uint64_t now)
{
	for (size_t i = 0; i < f->pool_count; i++)
		if (pool_stopped(f->pools[i], pid, status, now))
			return true;
	tracee_detach(pid, 0); /* of a worker that has gone meanwhile */
	return false;
}

bool fleet_died(struct fleet *f, pid_t pid, int status, uint64_t now)
{
	for (size_t i = 0; i < f->pool_count; i++)
		if (pool_died(f->pools[i], pid, status, now))
			return true;
	return false;
}

struct pool *fleet_pool(const struct fleet *f, size_t index)
{
	return index < f->pool_count ? f->pools[index] : NULL;
}

bool fleet_is_empty(const struct fleet *f)
{
	for (size_t i = 0; i < f->pool_count; i++)
		if (!pool_is_empty(f->pools[i]))
			return false;
	return true;
}

unsigned fleet_ready(const struct fleet *f)
{
	unsigned n = 0;

	for (size_t i = 0; i < f->pool_count; i++)
		n += pool_ready(f->pools[i]);
	return n;
}

const struct conf *fleet_conf(const struct fleet *f)
{
	return f->conf;
}

bool fleet_must_wait(const struct fleet *f)
{
	for (size_t i = 0; i < f->pool_count; i++)
		if (carry_must_wait(f->pools[i]))
			return true;
	return false;
}

void fleet_save(const struct fleet *f, struct state_out *out)
{
	state_put(out, "fleet", rows, f);
	listen_save(f->listeners, out);
	carryconf_save(f->conf, f->conf_number, out);
	for (const struct old_conf *o = f->old; o != NULL; o = o->next)
		carryconf_save(o->conf, o->number, out);
	for (size_t i = 0; i < f->pool_count; i++)
		carry_save(f->pools[i], out);
}

static const struct conf *find_conf(const void *arg, unsigned number)
{
	const struct fleet *f = arg;

	if (f->conf != NULL && f->conf_number == number)
		return f->conf;
	for (const struct old_conf *o = f->old; o != NULL; o = o->next)
		if (o->number == number)
			return o->conf;
	return NULL;
}

static int restore_confs(struct fleet *f, struct state_in *in, struct err *err)
{
	unsigned number = 0;

	while (state_has(in, "conf")) {
		struct conf *conf = carryconf_restore(in, &number, err);

		if (conf == NULL)
			return -1;
		if (number == f->conf_number)
			f->conf = conf;
		else
			put_aside(f, conf, number);
	}
	return f->conf != NULL
		       ? 0
		       : err_set(err, EX_SOFTWARE, "the state lacks the configuration in force");
}

int fleet_restore(struct fleet *f, struct state_in *in, struct err *err)
{
	struct carry_scene scene = {
		.context = f->context, .listeners = f->listeners, .find_conf = find_conf, .arg = f
	};

	if (state_take(in, "fleet", rows, f, err) != 0 ||
		listen_restore(f->listeners, in, err) != 0 || restore_confs(f, in, err) != 0)
		return -1;
	while (state_has(in, "pool")) {
		struct pool *pool = carry_restore(in, &scene, err);

		if (pool == NULL)
			return -1;
		if (make_room(f) != 0)
			return err_set(err, EX_OSERR, "out of memory");
		f->pools[f->pool_count++] = pool;
	}
	return 0;
}
