/*
 * confpool: struct conf_pool as an object: made, added, freed.
 */
#ifndef PREFORKD_CONFPOOL_H
#define PREFORKD_CONFPOOL_H

#include "common/conf.h"

/* A pool without any key. NULL without memory. */
struct conf_pool *confpool_new(const char *name, struct conf_place place);
void confpool_free(struct conf_pool *pool);

/* Puts the pool behind the last one; it is then owned by conf. -1 without memory. */
int confpool_append(struct conf *conf, struct conf_pool *pool);

/* NULL when conf has no pool of that name. */
struct conf_pool *confpool_find(const struct conf *conf, const char *name);

#endif
