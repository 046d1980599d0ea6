/*
 * figures: what the gate says of the daemon, out of its JSON into plain structs.
 *
 * Numbers that are unknown there (null), missing or of another type are -1 here. Text is printable
 * ASCII and cut to its place. Whatever arrives, this never fails otherwise than by saying so.
 */
#ifndef PREFORKD_CTL_FIGURES_H
#define PREFORKD_CTL_FIGURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

struct figures_request {
	char method[17]; /* empty: none is known */
	char path[257];
	double seconds;
};

struct figures_worker {
	int64_t slot, pid, generation;
	char state[16];
	double started; /* unix time */
	struct figures_request request;
	int64_t requests, connections, resident, bytes_in, bytes_out;
	double last, total, cpu; /* seconds */
	double cpu_share;        /* of one processor, by rates; -1: not known yet */
};

struct figures_listener {
	char address[128];
	int64_t queue, limit, high;
};

/* How long requests took. As in the JSON: each bucket holds those of the buckets before it, too. */
#define FIGURES_BUCKETS 64
struct figures_latency {
	size_t count; /* of its buckets; 0: not known */
	struct figures_bucket {
		double most; /* seconds; INFINITY for the last */
		int64_t requests;
	} buckets[FIGURES_BUCKETS];
	double sum; /* seconds */
};

struct figures_deaths {
	int64_t exited, signal, timeout, failed_start, retired;
};

struct figures_pool {
	char name[64], kind[16], program[513], state[16], reason[513];
	bool healthy, draining, backoff;
	int64_t generation, requests, bytes_in, bytes_out, spawned;
	int64_t min, max, wanted, live, starting, idle, busy, retiring;
	double delay, ends_in; /* of the back-off, seconds */
	struct figures_deaths died;
	struct figures_listener *listeners; /* owned */
	size_t listener_count;
	int64_t queue, queue_limit;     /* of all its listeners */
	struct figures_latency latency; /* of all requests so far */
	/* By rates, of the time since the last look; -1, none: not known yet. A second: */
	double rate, rate_in, rate_out;
	struct figures_latency recent;
	struct figures_worker *workers; /* owned */
	size_t worker_count;
};

struct figures_change { /* reloads, upgrades */
	int64_t done, failed;
	char result[16]; /* of the last: none, done, failed, running */
	double at;
	char reason[513];
};

struct figures {
	char version[32], state[16];
	char retirement[16]; /* of programs: trace, stop, signal; empty: not known */
	int64_t pid, gate_restarts;
	double now, started;
	struct figures_change reloads, upgrades;
	struct figures_pool *pools; /* owned */
	size_t count;
};

/* NULL with *err filled: no such JSON, or no memory. */
struct figures *figures_read(const char *json, size_t length, struct err *err);
void figures_free(struct figures *figures);

/* Does all of it serve? */
bool figures_healthy(const struct figures *figures);

/* So many of a hundred requests took no longer, in seconds: the bound of a bucket, and INFINITY
 * beyond the largest. -1: not known, or no request. */
double figures_within(const struct figures_latency *latency, unsigned percent);
double figures_mean(const struct figures_latency *latency);

/* What there is to know of how programs are retired, one sentence; NULL: nothing. */
const char *figures_retirement(const struct figures *figures);

#endif
