/*
 * muster: starts workers of a generation, several together.
 */
#ifndef PREFORKD_MUSTER_H
#define PREFORKD_MUSTER_H

#include <stdint.h>

struct err;
struct generation;
struct pool;

#define MUSTER_MOST 32 /* then the loop sees to signals and output before it goes on */

/* n: at most MUSTER_MOST. -1: not all could be started; those that could, are. */
int muster(struct pool *pool, struct generation *g, unsigned n, uint64_t now, struct err *err);

#endif
