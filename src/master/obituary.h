/*
 * obituary: what the log says of a dead worker.
 *
 * The sentence ends with what happens next, which is only known a moment after the death: it waits
 * here until somebody knows.
 */
#ifndef PREFORKD_OBITUARY_H
#define PREFORKD_OBITUARY_H

#include <stdint.h>

struct watch;

struct obituary {
	char text[600]; /* empty: nobody has died */
};

/* One that still waits is told first. */
void obituary_write(
	struct obituary *o, const char *pool, const struct watch *w, int status, uint64_t requests);

/* Logs it, with what happens next. */
void obituary_tell(struct obituary *o, const char *what_next);

#endif
