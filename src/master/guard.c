/*
 * guard: a listener that was shut down is opened anew under the same descriptor; workers that have
 * the old one retire and are replaced.
 *
 * A program that uses O_NONBLOCK itself, because it has an event loop, must not lose it while it
 * serves: it would block in accept beside the connections that it has. So a program's listener is
 * made blocking again only where nobody lives, where workers fail, or for another program.
 */
#include "master/guard.h"

#include <stdio.h>
#include <string.h>

#include "common/conf.h"
#include "common/err.h"
#include "common/log.h"
#include "master/bind.h"
#include "master/generation.h"
#include "master/listen.h"
#include "master/roster.h"
#include "master/upkeep.h"
#include "master/watch.h"

#define LOOK_EVERY 1000 /* ms: a program that shuts it down each time must not keep us busy */
#define RECENTLY 1000   /* ms: the death of a worker may be the end of what it did */

void guard_died(struct guard *g, pid_t pid, uint64_t now)
{
	g->deaths = now - g->died_at < RECENTLY ? g->deaths + 1 : 1;
	g->died = pid;
	g->died_at = now;
}

static bool has_listener(const struct member *m, const struct generation *g, int fd)
{
	if (m->watch == NULL || m->generation != g || g->listener_count == 0)
		return false;
	return g->conf->kind != CONF_COMMAND || g->listener_fds[m->watch->listener] == fd;
}

/* One that was alone with it, or has just died from it. */
static const char *culprit(
	const struct guard *g, const struct roster *roster, uint64_t now, char *out, size_t size)
{
	unsigned alive = roster_alive(roster);
	unsigned died = now - g->died_at < RECENTLY ? g->deaths : 0;
	pid_t pid = g->died;

	for (unsigned s = 1; s <= roster->slots && died == 0; s++)
		if (roster->members[s].watch != NULL)
			pid = roster->members[s].watch->pid;
	if (alive + died == 1)
		snprintf(out, size, "worker %d", (int)pid);
	else if (died == 1)
		snprintf(out, size, "one of its workers, perhaps by %d, which has just died",
			(int)pid);
	else
		snprintf(out, size, "one of its workers");
	return out;
}

static void replace_workers(
	const struct roster *roster, const struct generation *g, int fd, uint64_t now)
{
	for (unsigned s = 1; g != NULL && s <= roster->slots; s++)
		if (has_listener(&roster->members[s], g, fd))
			watch_event(roster->members[s].watch, LIFE_EV_RETIRE, now);
}

static void look_at(struct guard *guard, const struct guard_scene *scene,
	const struct generation *g, size_t i, uint64_t now)
{
	struct listener *l = g->listeners[i];
	struct err why = { 0 };
	char who[96];

	if (bind_is_alive(l->fd))
		return;
	upkeep_leave(scene->upkeep);
	culprit(guard, scene->roster, now, who, sizeof(who));
	if (listen_mend(l, g->conf, &why) == LISTEN_LOST) {
		if (!guard->said_lost)
			log_err("pool %s: %s was shut down by %s, and cannot be opened anew: %s",
				g->conf->name, l->text, who, why.text);
		guard->said_lost = guard->wanted = true;
		return;
	}
	guard->said_lost = false;
	log_err("pool %s: %s was shut down by %s; opened anew, and its workers are replaced",
		g->conf->name, l->text, who);
	replace_workers(scene->roster, scene->current, l->fd, now);
	replace_workers(scene->roster, scene->next, l->fd, now);
}

static bool same_program(const struct generation *a, const struct generation *b)
{
	if (a == NULL || a->conf->kind != CONF_COMMAND)
		return false;
	for (size_t i = 0;; i++) {
		const char *x = a->conf->argv[i], *y = b->conf->argv[i];

		if (x == NULL || y == NULL)
			return x == y;
		if (strcmp(x, y) != 0)
			return false;
	}
}

static bool may_change_mode(const struct guard_scene *scene, const struct generation *g)
{
	if (g->conf->kind != CONF_COMMAND || scene->failing || roster_alive(scene->roster) == 0)
		return true;
	return g == scene->next && g->workers == 0 && !same_program(scene->current, g);
}

static void set_mode(struct guard *guard, const struct guard_scene *scene,
	const struct generation *g, size_t i, uint64_t now)
{
	const struct listener *l = g->listeners[i];
	char who[96];

	if (bind_is_set(l->fd, g->conf) || !may_change_mode(scene, g))
		return;
	bind_set_blocking(l->fd, g->conf);
	if (!guard->said_mode)
		log_warning("pool %s: %s was made %s by %s; put right", g->conf->name, l->text,
			g->conf->kind == CONF_COMMAND ? "non-blocking" : "blocking",
			culprit(guard, scene->roster, now, who, sizeof(who)));
	guard->said_mode = true;
}

/* What can be seen before a worker is started, and at little cost. */
static void look_before_start(struct guard *guard, const struct guard_scene *scene,
	const struct generation *g, size_t i, uint64_t now)
{
	if (!bind_is_alive(g->listeners[i]->fd)) {
		guard->wanted = true;
		return;
	}
	set_mode(guard, scene, g, i, now);
	if (g == scene->current) /* the next one may still fail */
		listen_set_backlog(g->listeners[i], g->conf->backlog);
}

static void follow_generation(struct guard *guard, const struct guard_scene *scene,
	const struct generation *g, uint64_t now)
{
	if (g == NULL)
		return;
	bool starts = roster_count(scene->roster, g, false) < g->want;
	for (size_t i = 0; i < g->listener_count; i++) {
		listen_guard(g->listeners[i], scene->base);
		guard->wanted = listen_noticed(g->listeners[i]) || guard->wanted;
		if (starts)
			look_before_start(guard, scene, g, i, now);
	}
}

static void attend(struct guard *guard, const struct guard_scene *scene, const struct generation *g,
	uint64_t now)
{
	for (size_t i = 0; g != NULL && i < g->listener_count; i++)
		look_at(guard, scene, g, i, now);
}

uint64_t guard_follow(struct guard *guard, const struct guard_scene *scene, uint64_t now)
{
	follow_generation(guard, scene, scene->current, now);
	follow_generation(guard, scene, scene->next, now);
	if (!guard->wanted)
		return UINT64_MAX;
	if (now < guard->looked_at + LOOK_EVERY)
		return guard->looked_at + LOOK_EVERY;
	guard->looked_at = now;
	guard->wanted = false;
	attend(guard, scene, scene->current, now);
	attend(guard, scene, scene->next, now);
	return guard->wanted ? now + LOOK_EVERY : UINT64_MAX;
}
