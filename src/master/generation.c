/*
 * generation: opens what a pool's workers need before the first is started, all of it or nothing.
 */
#include "master/generation.h"

#include <stdlib.h>
#include <sysexits.h>

#include "common/conf.h"
#include "common/err.h"
#include "common/log.h"
#include "master/listen.h"
#include "master/output.h"

static int open_listeners(struct generation *g, struct err *err)
{
	const struct conf_pool *conf = g->conf;
	struct err why;

	g->listeners = calloc(conf->listen_count, sizeof(struct listener *));
	g->listener_fds = calloc(conf->listen_count, sizeof(int));
	if (g->listeners == NULL || g->listener_fds == NULL)
		return err_set(err, EX_OSERR, "pool %s: out of memory", conf->name);
	for (size_t i = 0; i < conf->listen_count; i++) {
		struct listener *l = listen_get(g->set, conf, &conf->listen[i], &why);

		if (l == NULL)
			return err_set(err, why.code, "pool %s: %s", conf->name, why.text);
		g->listeners[i] = l;
		g->listener_fds[i] = l->fd;
		g->listener_count++;
	}
	return 0;
}

static int open_output(struct generation *g, struct err *err)
{
	struct err why;

	g->sink = output_sink_open(g->conf, &why);
	if (g->sink == NULL)
		return err_set(err, why.code, "pool %s: %s", g->conf->name, why.text);
	return 0;
}

/* One that an earlier image has opened is there already, if that knew of access logs. */
static int open_access(struct generation *g, struct err *err)
{
	struct err why;

	if (g->conf->access_log == NULL || g->access.fd >= 0)
		return 0;
	if (accessfile_open(&g->access, g->conf->access_log, &why) == 0)
		return 0;
	return err_set(err, why.code, "pool %s: %s", g->conf->name, why.text);
}

int generation_reopen(struct generation *g, struct err *err)
{
	struct err why;
	int rc = output_sink_reopen(g->sink, err);

	if (g->access.fd < 0 || accessfile_reopen(&g->access, g->conf->access_log, &why) == 0)
		return rc;
	err_set(err, why.code, "pool %s: the access log stays in the old file: %s", g->conf->name,
		why.text);
	log_err("%s", err->text);
	return -1;
}

static struct generation *new_generation(
	const struct conf_pool *conf, unsigned number, struct listen_set *set, struct err *err)
{
	struct generation *g = calloc(1, sizeof(*g));

	if (g == NULL) {
		err_set(err, EX_OSERR, "pool %s: out of memory", conf->name);
		return NULL;
	}
	g->number = number;
	g->conf = conf;
	g->range = conf->workers;
	g->want = conf->workers.min;
	g->set = set;
	g->access = (struct accessfile)ACCESSFILE_NONE;
	return g;
}

static int take_listeners(
	struct generation *g, const unsigned *numbers, size_t count, struct err *err)
{
	if (count == 0)
		return 0;
	g->listeners = calloc(count, sizeof(struct listener *));
	g->listener_fds = calloc(count, sizeof(int));
	if (g->listeners == NULL || g->listener_fds == NULL)
		return err_set(err, EX_OSERR, "pool %s: out of memory", g->conf->name);
	for (size_t i = 0; i < count; i++) {
		g->listeners[i] = listen_take(g->set, numbers[i]);
		if (g->listeners[i] == NULL)
			return err_set(err, EX_SOFTWARE,
				"pool %s: the state lacks one of its listeners", g->conf->name);
		g->listener_fds[i] = g->listeners[i]->fd;
		g->listener_count++;
	}
	return 0;
}

struct generation *generation_adopt(const struct conf_pool *conf, unsigned number,
	struct listen_set *set, const struct generation_parts *parts, struct err *err)
{
	struct generation *g = new_generation(conf, number, set, err);

	if (g == NULL)
		return NULL;
	g->access = parts->access;
	if (take_listeners(g, parts->listeners, parts->count, err) == 0 &&
		open_output(g, err) == 0 && open_access(g, err) == 0)
		return g;
	/* No listener is closed: it is still that of the older image, if that goes on. */
	free(g->listeners);
	free(g->listener_fds);
	free(g);
	return NULL;
}

struct generation *generation_open(
	const struct conf_pool *conf, unsigned number, struct listen_set *set, struct err *err)
{
	struct generation *g = new_generation(conf, number, set, err);

	if (g == NULL)
		return NULL;
	if (open_listeners(g, err) == 0 && open_output(g, err) == 0 && open_access(g, err) == 0)
		return g;
	generation_close(g);
	return NULL;
}

void generation_enter(const struct generation *generation)
{
	for (size_t i = 0; i < generation->listener_count; i++)
		listen_set_backlog(generation->listeners[i], generation->conf->backlog);
}

void generation_leave(struct generation *g)
{
	for (size_t i = 0; i < g->listener_count; i++)
		listen_put(g->set, g->listeners[i]);
	g->listener_count = 0;
}

void generation_close(struct generation *g)
{
	if (g == NULL)
		return;
	generation_leave(g);
	output_sink_close(g->sink);
	accessfile_close(&g->access);
	free(g->listeners);
	free(g->listener_fds);
	free(g);
}
