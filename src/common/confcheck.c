/*
 * confcheck: rules that more than one key, or more than one pool, has a part in.
 *
 * Runs when everything is read, and names both places of a contradiction. What could not be read
 * is a mistake already and is passed over here. Must never look outside of struct conf.
 */
#include "common/confcheck.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "common/confkey.h"

static const struct conf_place *place_of(const struct conf_pool *pool, const char *name)
{
	return &pool->at[confkey_row(confkey_find(CONFKEY_POOL, name))];
}

/* A pool that comes from options has no place, and its user knows letters instead of keys. */
static bool from_options(const struct conf_pool *pool)
{
	return pool->place.file == NULL;
}

static void check_presence(const struct conf_pool *pool, struct conferr *mistakes)
{
	/* Where a key was given and refused, the pool is not blamed for the lack of it. */
	if (pool->listen_count == 0 && place_of(pool, "listen")->line == 0 && !from_options(pool))
		conferr_add(mistakes, pool->place, EX_CONFIG,
			"[pool %s] has no address: give listen", pool->name);
	if (pool->kind == CONF_NONE)
		conferr_add(mistakes, pool->place, EX_CONFIG,
			"[pool %s] runs nothing: give one of app, module and command", pool->name);
}

/* A program gets one listener, on descriptor 0; no listener may be left without a worker. */
static void check_workers(const struct conf_pool *pool, struct conferr *mistakes)
{
	struct conf_place place = *place_of(pool, "workers");

	if (pool->kind != CONF_COMMAND || pool->workers.max == 0 ||
		pool->workers.max >= pool->listen_count)
		return;
	if (place.line == 0)
		place = *place_of(pool, "listen");
	conferr_add(mistakes, place, from_options(pool) ? EX_USAGE : EX_CONFIG,
		"%s: %u cannot serve %zu addresses: each worker of a command serves one",
		from_options(pool) ? "-n" : "workers", pool->workers.max, pool->listen_count);
}

/* What a program answers is not seen from outside, so that nobody could count it. */
static void check_recycling(const struct conf_pool *pool, struct conferr *mistakes)
{
	if (pool->kind == CONF_COMMAND && pool->max_requests > 0)
		conferr_add(mistakes, *place_of(pool, "max-requests"), EX_CONFIG,
			"max-requests: the requests of a command cannot be counted: use max-age or "
			"max-memory, or the program's own limit (PHP_FCGI_MAX_REQUESTS)");
}

/* Nor could anybody write down what they were. */
static void check_access_log(const struct conf_pool *pool, struct conferr *mistakes)
{
	if (pool->kind == CONF_COMMAND && pool->access_log != NULL)
		conferr_add(mistakes, *place_of(pool, "access-log"), EX_CONFIG,
			"access-log: the requests of a command cannot be seen from outside: use "
			"the web "
			"server's log");
}

static void say_twice(const struct conf_pool *pool, const struct conf_pool *other, const char *text,
	struct conferr *mistakes)
{
	const struct conf_place *first = place_of(other, "listen");

	if (from_options(pool))
		conferr_add(mistakes, pool->place, EX_USAGE, "-l %s: is given twice", text);
	else if (pool == other)
		conferr_add(mistakes, *first, EX_CONFIG, "listen: %s is given twice", text);
	else
		conferr_add(mistakes, *place_of(pool, "listen"), EX_CONFIG,
			"listen: %s belongs to [pool %s] already, at %s:%u", text, other->name,
			first->file, first->line);
}

/* The listener before the one with this index that has the same address, in any pool before. */
static void check_address(const struct conf *conf, size_t p, size_t index, struct conferr *mistakes)
{
	const struct conf_pool *pool = conf->pools[p];
	const char *text = pool->listen[index].text;

	for (size_t q = 0; q <= p; q++) {
		const struct conf_pool *other = conf->pools[q];
		size_t end = q == p ? index : other->listen_count;

		for (size_t i = 0; i < end; i++)
			if (strcmp(other->listen[i].text, text) == 0) {
				say_twice(pool, other, text, mistakes);
				return;
			}
	}
}

static void check_counts(const struct conf_pool *pool, struct conferr *mistakes)
{
	if (pool->listen_count > CONF_LISTEN_MAX)
		conferr_add(mistakes, *place_of(pool, "listen"),
			from_options(pool) ? EX_USAGE : EX_CONFIG,
			"%s: %zu addresses are too many: at most %d in a pool",
			from_options(pool) ? "-l" : "listen", pool->listen_count, CONF_LISTEN_MAX);
	if (pool->allow_count > CONF_ALLOW_MAX)
		conferr_add(mistakes, *place_of(pool, "allow"), EX_CONFIG,
			"allow: %zu networks are too many: at most %d", pool->allow_count,
			CONF_ALLOW_MAX);
}

/* An address of the gate that a pool has already. */
static void check_door(
	const struct conf *conf, const char *key, const char *text, struct conferr *mistakes)
{
	for (size_t p = 0; text != NULL && p < conf->pool_count; p++)
		for (size_t i = 0; i < conf->pools[p]->listen_count; i++)
			if (strcmp(conf->pools[p]->listen[i].text, text) == 0)
				conferr_add(mistakes,
					conf->at[confkey_row(confkey_find(CONFKEY_MAIN, key))],
					EX_CONFIG, "%s: %s belongs to [pool %s]", key, text,
					conf->pools[p]->name);
}

void confcheck_pools(const struct conf *conf, struct conferr *mistakes)
{
	check_door(conf, "control", conf->control, mistakes);
	check_door(conf, "http", conf->http, mistakes);
	for (size_t p = 0; p < conf->pool_count; p++) {
		check_presence(conf->pools[p], mistakes);
		check_workers(conf->pools[p], mistakes);
		check_counts(conf->pools[p], mistakes);
		check_recycling(conf->pools[p], mistakes);
		check_access_log(conf->pools[p], mistakes);
		for (size_t i = 0; i < conf->pools[p]->listen_count; i++)
			check_address(conf, p, i, mistakes);
	}
}
