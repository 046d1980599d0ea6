/*
 * confline: the lines of an INI file, made ready for libini_config.
 */
#ifndef PREFORKD_CONFLINE_H
#define PREFORKD_CONFLINE_H

#include <stddef.h>

#include "common/conferr.h"

/* So many sections and keys in one file: the library's time grows with their square. */
#define CONFLINE_MAX 10000

struct confline_section {
	char *name; /* owned; NULL: the first of all, or a broken header */
	unsigned line;
};

struct confline_text {
	struct confline_line *lines; /* owned; they point into the text */
	size_t count;
	struct confline_section *sections; /* owned */
	size_t section_count;              /* at least 1 */
};

/* Cuts text (changed by that, and kept in use) into lines. -1 when there is no sense in going on.
 * Always for confline_free(). */
int confline_prepare(char *text, size_t length, const char *path, struct confline_text *out,
	struct conferr *mistakes);
void confline_free(struct confline_text *text);

/* Leaves a line (from 1) out of what confline_join() returns; the others keep their numbers. */
void confline_drop(struct confline_text *text, unsigned line);

/* The text for the library; for free(). NULL without memory. */
char *confline_join(const struct confline_text *text, size_t *length);

/* The number of a line in the file, for that in the joined text, and the name there of a section.
 */
unsigned confline_number(unsigned joined);
void confline_section_name(size_t number, char *out, size_t size);

#endif
