/*
 * carry: hands a pool with its generations and workers to the next image.
 *
 * The place where a field that must outlive an upgrade gets its row. Restoring only fills in: no
 * worker is signalled, started or waited for, so that a program can be asked whether it would take
 * over without taking anything.
 */
#ifndef PREFORKD_CARRY_H
#define PREFORKD_CARRY_H

#include <stdbool.h>

struct conf;
struct err;
struct listen_set;
struct pool;
struct state_in;
struct state_out;
struct watch_context;

/* No reload may be under way. */
void carry_save(const struct pool *pool, struct state_out *out);

/* Is a worker of it traced? What its processes are doing then cannot be handed on. */
bool carry_must_wait(const struct pool *pool);

/* What a pool is restored into. */
struct carry_scene {
	const struct watch_context *context;
	struct listen_set *listeners; /* restored */
	const struct conf *(*find_conf)(const void *arg, unsigned number);
	const void *arg;
};
/* NULL and *err; then the process must not go on with what it has. */
struct pool *carry_restore(struct state_in *in, const struct carry_scene *scene, struct err *err);

#endif
