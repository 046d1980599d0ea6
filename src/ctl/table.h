/*
 * table: rows of short texts in columns as wide as they have to be.
 *
 * Filled cell by cell, printed at the end. Colours do not count as width.
 */
#ifndef PREFORKD_CTL_TABLE_H
#define PREFORKD_CTL_TABLE_H

#include <stdbool.h>
#include <stdio.h>

enum table_colour { TABLE_PLAIN, TABLE_GOOD, TABLE_WARN, TABLE_BAD, TABLE_DIM };

struct table;

/* titles: one word for each column; one that begins with ">" is set to the right. It must outlive
 * the table. NULL without memory. */
struct table *table_new(const char *const *titles, size_t columns);
/* The next cell, row by row. text is copied. Without memory the table stays short. */
void table_add(struct table *table, enum table_colour colour, const char *text);
void table_print(const struct table *table, bool colours, FILE *out);
void table_free(struct table *table);

/* Text in a colour. */
void table_paint(const char *text, enum table_colour colour, bool colours, FILE *out);

#endif
