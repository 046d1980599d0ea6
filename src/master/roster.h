/*
 * roster: the workers of one pool by slot, and what can be counted over them.
 *
 * A slot is the number that a worker has in its pool and its page on the scoreboard; it is free
 * again when the worker is reaped. Decides nothing.
 */
#ifndef PREFORKD_ROSTER_H
#define PREFORKD_ROSTER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct generation;
struct watch;

struct member {
	struct watch *watch; /* NULL: the slot is free */
	struct generation *generation;
};

struct roster {
	struct member *members; /* by slot, from 1 */
	unsigned slots;         /* highest slot there is */
};

/* Room for slots 1..slots; never fewer than before. -1 without memory. */
int roster_grow(struct roster *roster, unsigned slots);
void roster_free(struct roster *roster);

struct member *roster_find(const struct roster *roster, pid_t pid);
/* 0: none is free. */
unsigned roster_free_slot(const struct roster *roster);

/* Those that are not reaped yet. */
unsigned roster_alive(const struct roster *roster);
/* Those that serve or will, or only those that are ready; of one generation, NULL: of all. */
unsigned roster_count(const struct roster *roster, const struct generation *g, bool ready_only);

/* The listener of a command pool that the fewest workers of the generation serve. */
size_t roster_poorest_listener(const struct roster *roster, const struct generation *g);

#endif
