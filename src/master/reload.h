/*
 * reload: one reading of the configuration, from the file to its end, with what the log and those
 * who asked hear of it. The first of a start is not told here.
 */
#ifndef PREFORKD_RELOAD_H
#define PREFORKD_RELOAD_H

#include <stdbool.h>

struct err;
struct conf_options;
struct heritage;
struct heritage_parts;

struct reload {
	const struct conf_options *options;
	bool foreground; /* log to stderr, whatever the configuration says */
	struct heritage *heritage;
	struct heritage_parts *parts;
};

/* No transaction may be under way. pool: only this one; NULL: all. */
void reload_begin(const struct reload *r, const char *pool);
/* The same, at the end of an upgrade. */
void reload_resume(const struct reload *r);
/* The fleet says so. */
void reload_done(const struct reload *r);
void reload_failed(const struct reload *r, const struct err *err);

/* The sink follows the configuration; one that cannot be opened leaves the old one in use. */
void reload_log(const struct reload *r);

#endif
