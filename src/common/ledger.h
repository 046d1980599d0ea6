/*
 * ledger: what the master shows to the gate, in one memfd: records of a fixed size.
 *
 * The master writes it when it is asked to, and answers when it is written; the gate maps it
 * read-only, and reads it between an answer and its next question. So no lock is needed. Text in it
 * can hold foreign bytes: escape what goes into a page. Times are milliseconds; those "at" are of
 * the wall clock, 0 where it has never happened.
 */
#ifndef PREFORKD_LEDGER_H
#define PREFORKD_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/board.h"

#define LEDGER_REASON 300
#define LEDGER_LINE 512

/* Their order is that of the names in gate/names.c. */
enum ledger_phase { LEDGER_STARTING, LEDGER_SERVING, LEDGER_STOPPING };
enum ledger_result { LEDGER_NONE, LEDGER_DONE, LEDGER_FAILED, LEDGER_RUNNING };
enum ledger_pool_state {
	LEDGER_POOL_STARTING,
	LEDGER_POOL_SERVING,
	LEDGER_POOL_BACKOFF,
	LEDGER_POOL_DRAINING,
	LEDGER_POOL_STOPPING
};
enum ledger_worker_state {
	LEDGER_WORKER_STARTING,
	LEDGER_WORKER_IDLE,
	LEDGER_WORKER_BUSY,
	LEDGER_WORKER_RETIRING,
	LEDGER_WORKER_UNKNOWN /* a program that nobody has looked at yet */
};
/* How programs are retired: the worst way that was needed so far, or will be. */
enum ledger_retirement {
	LEDGER_BY_TRACE,
	LEDGER_BY_STOP,   /* stopped and looked at: slow in a pool that is never idle */
	LEDGER_BY_SIGNAL, /* wherever they are: can cut a request */
};
enum ledger_kind { LEDGER_APP, LEDGER_MODULE, LEDGER_COMMAND };

/* How workers died. */
enum ledger_death {
	LEDGER_EXITED,       /* unasked, by exit */
	LEDGER_SIGNAL,       /* unasked, by a signal */
	LEDGER_TIMEOUT,      /* its request took longer than request-timeout */
	LEDGER_FAILED_START, /* it never got ready, or left at once */
	LEDGER_RETIRED,      /* told to go */
	LEDGER_DEATHS
};

/* Reloads, or upgrades. */
struct ledger_changes {
	uint32_t done, failed;
	uint32_t last; /* enum ledger_result */
	uint64_t at;
	char reason[LEDGER_REASON]; /* of a failure */
};

struct ledger_daemon {
	char version[32];
	int32_t pid;
	uint32_t phase; /* enum ledger_phase */
	uint64_t now, started_at;
	struct ledger_changes reloads, upgrades;
	int32_t gate_pid;
	uint32_t gate_restarts;
	uint32_t retirement; /* enum ledger_retirement */
};

struct ledger_pool {
	char name[40];
	uint32_t kind;
	char program[512]; /* with its arguments */
	uint32_t state;    /* enum ledger_pool_state */
	bool healthy, draining;
	char reason[LEDGER_REASON]; /* why it is not healthy */
	uint32_t generation;        /* 0: none serves yet */
	uint32_t listener_count;    /* of the records that follow one another */
	uint32_t worker_count;
	uint32_t min, max, wanted, live, starting, idle, busy, retiring;
	bool counts;                  /* what its workers do */
	struct board_figures figures; /* of all, with those that are dead */
	uint64_t spawned, died[LEDGER_DEATHS];
	uint64_t backoff, backoff_left; /* 0: there is none */
};

struct ledger_listener {
	char address[128];
	bool known; /* the kernel tells its queue */
	uint32_t queue, limit, high;
};

struct ledger_worker {
	uint32_t slot;
	int32_t pid;
	uint32_t generation;
	uint32_t state; /* enum ledger_worker_state */
	uint64_t started_at;
	bool in_process; /* it counts, and tells what it has in hand */
	struct board_figures figures;
	bool has_request;
	uint64_t lasted; /* so long is the request in hand */
	char method[16], path[256];
	bool looked_at; /* a program: "connections" is known */
	uint32_t connections;
};

struct ledger_event {
	uint64_t at;
	uint32_t level; /* of syslog.h */
	char text[LEDGER_LINE];
};

struct ledger_counts {
	uint32_t pools, listeners, workers, events;
};

struct ledger;

/* The master's side. -1 and errno on failure. */
struct ledger *ledger_create(void);
int ledger_fd(const struct ledger *ledger);
/* Makes room for so many records, all of which are zero then. */
int ledger_begin(struct ledger *ledger, const struct ledger_counts *counts);

/* The gate's side: takes over fd. */
struct ledger *ledger_open(int fd);
/* After an answer: -1 when it cannot be read. */
int ledger_refresh(struct ledger *ledger);

const struct ledger_counts *ledger_counts(const struct ledger *ledger);
/* Both sides; the gate must not write. index is below the count. */
struct ledger_daemon *ledger_daemon(const struct ledger *ledger);
struct ledger_pool *ledger_pool(const struct ledger *ledger, uint32_t index);
struct ledger_listener *ledger_listener(const struct ledger *ledger, uint32_t index);
struct ledger_worker *ledger_worker(const struct ledger *ledger, uint32_t index);
struct ledger_event *ledger_event(const struct ledger *ledger, uint32_t index);

void ledger_close(struct ledger *ledger);

#endif
