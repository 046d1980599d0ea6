/*
 * confkey: the table of all keys, one row each.
 *
 * What parsing, -T, the comparison at a reload and the man page know of a key stands there and
 * nowhere else.
 */
#ifndef PREFORKD_CONFKEY_H
#define PREFORKD_CONFKEY_H

#include <stdbool.h>
#include <stddef.h>

#include "common/confval.h"

struct conf_place;

enum confkey_section { CONFKEY_MAIN, CONFKEY_POOL }; /* [preforkd], [pool NAME] */

struct confkey {
	enum confkey_section section;
	const char *name; /* "env.NAME" stands for all variables */
	struct confval value;
	const char *text; /* the default, as one would write it; NULL: there is none */
	const char *cost; /* what a change costs at a reload: "nothing", "new workers", "restart" */
	const char *help; /* one line */
};

/* Every row; NULL behind the last. Rows are also the indexes of "at" in conf and conf_pool. */
const struct confkey *confkey_at(size_t row);
size_t confkey_row(const struct confkey *key);

/* "env.HOME" finds the row "env.NAME". NULL when the section has no such key. */
const struct confkey *confkey_find(enum confkey_section section, const char *name);

/* The key of that section that was probably meant, or NULL. */
const char *confkey_near(enum confkey_section section, const char *name);

/* Gives base (struct conf or conf_pool) the default of every key of the section that has no line in
 * at. -1 with *err filled. */
int confkey_defaults(
	enum confkey_section section, const struct conf_place *at, void *base, struct err *err);

/* Have a and b (both struct conf or conf_pool) the same value? */
bool confkey_same(const struct confkey *key, const void *a, const void *b);

#endif
