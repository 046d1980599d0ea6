/*
 * confpool: where a pool's memory comes from and goes to.
 *
 * Whoever reads pools (from a file, from options) makes them here, and the free function has to
 * know every field that owns something. Must never know how a value is written.
 */
#include "common/confpool.h"

#include <stdlib.h>
#include <string.h>

#include "common/confword.h"

struct conf_pool *confpool_new(const char *name, struct conf_place place)
{
	struct conf_pool *pool = calloc(1, sizeof(*pool));

	if (pool == NULL)
		return NULL;
	pool->place = place;
	pool->name = strdup(name);
	if (pool->name == NULL) {
		free(pool);
		return NULL;
	}
	return pool;
}

void confpool_free(struct conf_pool *pool)
{
	if (pool == NULL)
		return;
	free(pool->name);
	free(pool->listen);
	free(pool->listen_owner);
	free(pool->listen_group);
	free(pool->allow);
	free(pool->user);
	free(pool->group);
	confword_free(pool->groups);
	confword_free(pool->argv);
	confword_free(pool->env);
	confword_free(pool->pass_env);
	free(pool->directory);
	free(pool->chroot);
	free(pool->output);
	free(pool->access_log);
	free(pool->access_format);
	free(pool->gids);
	free(pool->home);
	free(pool->user_name);
	free(pool->program);
	free(pool);
}

int confpool_append(struct conf *conf, struct conf_pool *pool)
{
	struct conf_pool **pools =
		reallocarray(conf->pools, conf->pool_count + 1, sizeof(struct conf_pool *));

	if (pools == NULL)
		return -1;
	conf->pools = pools;
	pools[conf->pool_count++] = pool;
	return 0;
}

struct conf_pool *confpool_find(const struct conf *conf, const char *name)
{
	for (size_t i = 0; i < conf->pool_count; i++)
		if (strcmp(conf->pools[i]->name, name) == 0)
			return conf->pools[i];
	return NULL;
}
