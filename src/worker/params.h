/*
 * params: the parameters of a request, "NAME=VALUE" strings, and the path that several of them
 * tell.
 *
 * Makes no system call and allocates nothing: it is also asked from a signal handler.
 */
#ifndef PREFORKD_PARAMS_H
#define PREFORKD_PARAMS_H

#include <stddef.h>

/* "" where there is none. */
const char *params_get(char *const *params, const char *name);

/* The path without the query, in two pieces. */
struct params_path {
	const char *piece[2];
	size_t length[2];
};
void params_path(char *const *params, struct params_path *out);

#endif
