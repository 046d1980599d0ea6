/*
 * confread: one INI file, read once, as sections of keys and values with their lines.
 */
#ifndef PREFORKD_CONFREAD_H
#define PREFORKD_CONFREAD_H

#include <stddef.h>

#include "common/conferr.h"

struct confread_entry {
	unsigned line;
	char *key, *value;
};

struct confread_section {
	char *name; /* NULL: what stands before the first section, or under a broken header */
	unsigned line;
	struct confread_entry *entries;
	size_t count;
};

/* All owned; for confread_free(). */
struct confread {
	struct confread_section *sections; /* the first is that without a name */
	size_t count;
};

/* Everything that can be read goes to *out, every mistake to mistakes. The path is kept in the
 * places of mistakes and must live as long as they. */
void confread_file(const char *path, struct confread *out, struct conferr *mistakes);
void confread_free(struct confread *file);

#endif
