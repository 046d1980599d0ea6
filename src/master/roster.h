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
#include <stdint.h>
#include <sys/types.h>

#include "common/board.h"

struct generation;
struct watch;

struct member {
	struct watch *watch; /* NULL: the slot is free */
	struct generation *generation;
	uint64_t old_at;     /* when it is to be replaced for its age; UINT64_MAX: never */
	uint64_t max_memory; /* of a program, bytes; 0: no limit */
	uint64_t outgoing;   /* since when another one is to replace it; 0: it stays */

	/* as last seen (gauge.c) */
	bool looked;      /* a program: what stands below was seen */
	bool busy;        /* has a request or a connection in hand, and takes no other */
	uint64_t since;   /* ms: begin of the request in hand; 0: it has none */
	ino_t connection; /* of a program: the one in hand */
	bool heavy;       /* larger than max_memory */

	struct board_figures said; /* the most that it has said of itself (tally.c) */
	uint64_t told;             /* "since" of the request that was logged as slow */
};

struct roster {
	struct member *members; /* by slot, from 1 */
	unsigned slots;         /* highest slot there is */
};

/* Room for slots 1..slots; never fewer than before. -1 without memory. */
int roster_grow(struct roster *roster, unsigned slots);
void roster_free(struct roster *roster);

struct member *roster_find(const struct roster *roster, pid_t pid);
/* The worker that a thread or process belongs to which is traced; NULL: none. */
struct member *roster_find_owner(const struct roster *roster, pid_t tid);
/* The first behind that one, 0: of all. 0: none is free. */
unsigned roster_free_slot(const struct roster *roster, unsigned after);

/* The worker, if it serves for this generation, is to stay, and was last seen without work; NULL:
 * not so. */
struct watch *roster_idle(const struct member *m, const struct generation *g);

/* Those that are not reaped yet. */
unsigned roster_alive(const struct roster *roster);
/* Those that serve or will and are to stay, or only those that are ready; of one generation, NULL:
 * of all. */
unsigned roster_count(const struct roster *roster, const struct generation *g, bool ready_only);

/* The same of a command pool's generation, ready or not, for one of its listeners. */
unsigned roster_count_at(const struct roster *roster, const struct generation *g, size_t listener);

/* The listener of a command pool that the fewest workers of the generation serve. */
size_t roster_poorest_listener(const struct roster *roster, const struct generation *g);

#endif
