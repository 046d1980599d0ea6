/*
 * roster: a table from slot 1, walked from end to end: pools have tens of workers, at most
 * thousands.
 */
#include "master/roster.h"

#include <stdint.h>
#include <string.h>

#include "common/conf.h"
#include "common/private.h"
#include "master/generation.h"
#include "master/watch.h"

static size_t table_size(const struct roster *roster)
{
	return (roster->slots + 1u) * sizeof(*roster->members);
}

int roster_grow(struct roster *roster, unsigned slots)
{
	struct member *members;

	if (slots <= roster->slots)
		return 0;
	members =
		private_grow(roster->members, table_size(roster), (slots + 1u) * sizeof(*members));
	if (members == NULL)
		return -1;
	roster->members = members;
	roster->slots = slots;
	return 0;
}

void roster_free(struct roster *roster)
{
	private_free(roster->members, table_size(roster));
	*roster = (struct roster){ 0 };
}

struct member *roster_find(const struct roster *roster, pid_t pid)
{
	for (unsigned s = 1; s <= roster->slots; s++)
		if (roster->members[s].watch != NULL && roster->members[s].watch->pid == pid)
			return &roster->members[s];
	return NULL;
}

struct member *roster_find_owner(const struct roster *roster, pid_t tid)
{
	for (unsigned s = 1; s <= roster->slots; s++)
		if (roster->members[s].watch != NULL && watch_knows(roster->members[s].watch, tid))
			return &roster->members[s];
	return NULL;
}

unsigned roster_free_slot(const struct roster *roster, unsigned after)
{
	for (unsigned s = after + 1; s <= roster->slots; s++)
		if (roster->members[s].watch == NULL)
			return s;
	return 0;
}

unsigned roster_alive(const struct roster *roster)
{
	unsigned n = 0;

	for (unsigned s = 1; s <= roster->slots; s++)
		n += roster->members[s].watch != NULL;
	return n;
}

static bool serves(const struct member *m, bool ready_only)
{
	return m->watch != NULL && m->outgoing == 0 &&
	       (m->watch->state == LIFE_UP || (!ready_only && m->watch->state == LIFE_STARTING));
}

struct watch *roster_idle(const struct member *m, const struct generation *g)
{
	return serves(m, true) && m->generation == g && !m->busy ? m->watch : NULL;
}

unsigned roster_count(const struct roster *roster, const struct generation *g, bool ready_only)
{
	unsigned n = 0;

	for (unsigned s = 1; s <= roster->slots; s++) {
		const struct member *m = &roster->members[s];

		n += serves(m, ready_only) && (g == NULL || m->generation == g);
	}
	return n;
}

unsigned roster_count_at(const struct roster *roster, const struct generation *g, size_t listener)
{
	unsigned n = 0;

	for (unsigned s = 1; s <= roster->slots; s++) {
		const struct member *m = &roster->members[s];

		n += serves(m, false) && m->generation == g && m->watch->listener == listener;
	}
	return n;
}

size_t roster_poorest_listener(const struct roster *roster, const struct generation *g)
{
	size_t best = 0;
	unsigned fewest = UINT32_MAX;

	for (size_t l = 0; g->conf->kind == CONF_COMMAND && l < g->listener_count; l++) {
		unsigned n = roster_count_at(roster, g, l);

		if (n < fewest) {
			fewest = n;
			best = l;
		}
	}
	return best;
}
