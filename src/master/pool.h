/*
 * pool: the workers of one pool, over all its generations.
 *
 * A generation is one reading of the pool's configuration with the workers started for it. A reload
 * prepares the next generation beside the current one, and then commits or aborts it; the workers
 * of a generation that is neither retire. pool_reconcile() compares what is with what should be.
 */
#ifndef PREFORKD_POOL_H
#define PREFORKD_POOL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct conf_pool;
struct err;
struct listen_set;
struct pool;
struct watch_context;

struct pool *pool_new(
	const char *name, const struct watch_context *context, struct listen_set *listeners);
/* Only when pool_is_empty(). */
void pool_free(struct pool *pool);
const char *pool_name(const struct pool *pool);

/* Opens what the next generation needs; its workers are started by pool_reconcile(). On failure
 * nothing has changed. conf stays in use until pool_uses() says otherwise. */
int pool_prepare(struct pool *pool, const struct conf_pool *conf, unsigned number, uint64_t now,
	struct err *err);

enum pool_progress { POOL_PENDING, POOL_PREPARED, POOL_FAILED };
/* How the next generation is doing; *err when it failed. Without one: POOL_PREPARED. */
enum pool_progress pool_progress(const struct pool *pool, struct err *err);
/* The next generation becomes the current one; the old one retires. */
void pool_commit(struct pool *pool, uint64_t now);
/* The next generation retires; the current one goes on. */
void pool_abort(struct pool *pool, uint64_t now);

/* No newcomers any more; when those in the queues are served all workers retire, and listeners are
 * given back. */
void pool_stop(struct pool *pool, uint64_t now);
/* Kills every worker, whoever waits; after pool_stop(). */
void pool_cut(struct pool *pool, uint64_t now);

int pool_reopen(struct pool *pool, struct err *err);
/* It serves on, but the health check says that it should get no more requests. */
void pool_drain(struct pool *pool, bool drains);
/* Does the generation that serves listen at this address? */
bool pool_listens(const struct pool *pool, const char *address);

/* A child has died and can still be signalled by its pid: false if it is none of this pool's. */
bool pool_died(struct pool *pool, pid_t pid, int status, uint64_t now);

/* A child has stopped: false if it is none of this pool's. */
bool pool_stopped(struct pool *pool, pid_t pid, int status, uint64_t now);

/* Returns when it wants to be called next; UINT64_MAX: when something happens. */
uint64_t pool_reconcile(struct pool *pool, uint64_t now);

/* Nobody is left, and nobody waits. */
bool pool_is_empty(const struct pool *pool);
/* Or about to be. */
bool pool_is_stopped(const struct pool *pool);
/* Does a generation with that number still have workers, or serve? */
bool pool_uses(const struct pool *pool, unsigned number);
unsigned pool_ready(const struct pool *pool);

#endif
