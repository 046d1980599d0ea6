/*
 * module: find the application of a pool, built in or in a shared object.
 */
#ifndef PREFORKD_MODULE_H
#define PREFORKD_MODULE_H

#include <stddef.h>

struct conf_pool;
struct preforkd_app;

/* NULL and a sentence in why when there is none. Runs foreign code: only without privileges. */
const struct preforkd_app *module_load(const struct conf_pool *pool, char *why, size_t size);
/* PREFORKD_APP_RESPONDER and its like. */
unsigned module_roles(const struct preforkd_app *app);

#endif
