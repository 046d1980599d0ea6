/*
 * conferr: the mistakes found in a configuration, each with its place, until all are known.
 */
#ifndef PREFORKD_CONFERR_H
#define PREFORKD_CONFERR_H

#include <stdbool.h>
#include <stddef.h>

#include "common/conf.h"

struct conferr {
	struct conferr_item *items; /* owned */
	size_t count;
	bool no_memory; /* a mistake could not be kept */
};

/* place.line 0: the whole file; place.file NULL: no file, the sentence stands alone. */
void conferr_add(struct conferr *list, struct conf_place place, int code, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* Moves everything to out, as "FILE:LINE: sentence" with foreign bytes escaped, in the order of
 * files (NULL-terminated; places point into it) and lines. */
void conferr_deliver(struct conferr *list, char **files, struct err_list *out);

#endif
