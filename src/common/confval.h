/*
 * confval: a value's text to its place in struct conf or conf_pool, and back.
 */
#ifndef PREFORKD_CONFVAL_H
#define PREFORKD_CONFVAL_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct err;

enum confval_type {
	CONFVAL_PATTERN,  /* kept by nobody here: include */
	CONFVAL_PATH,     /* char *: absolute; empty: NULL */
	CONFVAL_SINK,     /* char *: one of the choices, or an absolute path */
	CONFVAL_ENDPOINT, /* char *: one address of the kind (enum address_kind) min; empty: NULL */
	CONFVAL_FORMAT,   /* char *: for logformat_compile() */
	CONFVAL_NAME,     /* char *: of a user or group; empty: NULL */
	CONFVAL_CHOICE,   /* int: min for the first of the choices, and so on */
	CONFVAL_UNSIGNED, /* unsigned, min to max */
	CONFVAL_RANGE,    /* struct conf_range: "N" or "MIN..MAX", min to max */
	CONFVAL_NUMBER,   /* uint64_t, min to max */
	CONFVAL_BYTES,    /* uint64_t: a size, min to max where max is given */
	CONFVAL_INT,      /* int, min to max */
	CONFVAL_MODE,     /* unsigned, octal, up to max */
	CONFVAL_DURATION, /* uint64_t: milliseconds, min to max */
	CONFVAL_SIGNAL,   /* int */
	CONFVAL_BOOL,     /* bool */
	CONFVAL_LIMIT,    /* uint64_t: a number; unlimited; empty: CONF_INHERIT */
	CONFVAL_SIZE,     /* uint64_t: a size; unlimited; empty: CONF_INHERIT */
	CONFVAL_ADDRESSES, /* listen of struct conf_pool */
	CONFVAL_NETWORKS,  /* allow of struct conf_pool */
	CONFVAL_NAMES,     /* char **: of users or groups; empty: NULL */
	CONFVAL_VARIABLES, /* char **: names of environment variables; empty: NULL */
	CONFVAL_PROGRAM,   /* kind and argv of struct conf_pool; min is the enum conf_kind */
	CONFVAL_ENV,       /* env of struct conf_pool: one variable more */
};

struct confval {
	enum confval_type type;
	size_t offset; /* in struct conf or struct conf_pool */
	int64_t min, max;
	const char *const *choices; /* NULL-terminated */
};

/* Reads text, the value of the key with this name, into base (struct conf or conf_pool). What base
 * has there must be zero still, but for lists that grow (env). -1 with *err filled. */
int confval_set(const struct confval *value, const char *name, const char *text, void *base,
	struct err *err);

/* Writes "NAME = VALUE" lines that confval_set() reads to the same. */
void confval_print(const struct confval *value, const char *name, const void *base, FILE *out);

#endif
