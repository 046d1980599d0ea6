/*
 * fleet: all pools together, and the transaction that takes them from one configuration to the
 * next.
 *
 * A new configuration is prepared beside the current one, in every pool; when every worker of it is
 * ready it is committed, when anything fails it is aborted and the current one has never stopped
 * serving. Owns the pools, the listeners and every configuration still in use.
 */
#ifndef PREFORKD_FLEET_H
#define PREFORKD_FLEET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct conf;
struct err;
struct fleet;
struct listen_set;
struct pool;
struct state_in;
struct state_out;
struct watch_context;

/* Owns the listeners from here. context must live as long as the fleet. */
struct fleet *fleet_new(const struct watch_context *context, struct listen_set *listeners);
/* Only when fleet_is_empty(), or before a worker was started. */
void fleet_free(struct fleet *fleet);

/* For an upgrade; no transaction may be under way. The fleet that restores is new, and so is its
 * set of listeners; on failure it must not be used, and not be freed either. */
bool fleet_must_wait(const struct fleet *fleet); /* until no worker is traced, no pool closes */
void fleet_save(const struct fleet *fleet, struct state_out *out);
int fleet_restore(struct fleet *fleet, struct state_in *in, struct err *err);

/* Begins a transaction; none may be under way. Opens listeners and outputs, starts nothing yet. On
 * success conf belongs to the fleet; on failure nothing has changed and it stays the caller's.
 * only: the pool that is to follow the configuration, and no other; NULL: all. */
int fleet_prepare(
	struct fleet *fleet, struct conf *conf, const char *only, uint64_t now, struct err *err);
bool fleet_is_changing(const struct fleet *fleet);

enum fleet_news { FLEET_NO_NEWS, FLEET_COMMITTED, FLEET_FAILED };
/* Acts; *next is when it wants to be called again. FLEET_FAILED fills *err. */
enum fleet_news fleet_reconcile(struct fleet *fleet, uint64_t now, uint64_t *next, struct err *err);

/* Nobody is let in any more, whoever waits is served, and every worker retires; a transaction under
 * way is aborted. */
void fleet_stop(struct fleet *fleet, uint64_t now);
/* Every worker is killed; after fleet_stop(). */
void fleet_cut(struct fleet *fleet, uint64_t now);
void fleet_scale(struct fleet *fleet, int by, uint64_t now);
/* -1 with *err, the last that was logged: an old file stays somewhere. */
int fleet_reopen(struct fleet *fleet, struct err *err);
/* False: no pool knows the pid. */
bool fleet_stopped(struct fleet *fleet, pid_t pid, int status, uint64_t now);
bool fleet_died(struct fleet *fleet, pid_t pid, int status, uint64_t now);

bool fleet_is_empty(const struct fleet *fleet);
/* One after the other; NULL behind the last. Those that have stopped serving are among them. */
struct pool *fleet_pool(const struct fleet *fleet, size_t index);
/* NULL: none that serves, or will, has this name. */
struct pool *fleet_find(const struct fleet *fleet, const char *name);
unsigned fleet_ready(const struct fleet *fleet);
/* The configuration in force; NULL before the first commit. */
const struct conf *fleet_conf(const struct fleet *fleet);

#endif
