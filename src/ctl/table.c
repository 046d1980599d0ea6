/*
 * table: cells in one long list, the widths found when it is printed.
 */
#include "ctl/table.h"

#include <stdlib.h>
#include <string.h>

struct cell {
	char *text; /* owned */
	enum table_colour colour;
};

struct table {
	const char *const *titles;
	size_t columns;
	struct cell *cells;
	size_t count, room;
};

static const char *const escapes[] = {
	[TABLE_PLAIN] = "",
	[TABLE_GOOD] = "\033[32m",
	[TABLE_WARN] = "\033[33m",
	[TABLE_BAD] = "\033[1;31m",
	[TABLE_DIM] = "\033[2m",
};

struct table *table_new(const char *const *titles, size_t columns)
{
	struct table *table = calloc(1, sizeof(*table));

	if (table != NULL) {
		table->titles = titles;
		table->columns = columns;
	}
	return table;
}

void table_add(struct table *table, enum table_colour colour, const char *text)
{
	if (table->count == table->room) {
		size_t room = 2 * table->room + 64;
		struct cell *cells = reallocarray(table->cells, room, sizeof(*cells));
		if (cells == NULL)
			return;
		table->cells = cells;
		table->room = room;
	}
	struct cell *cell = &table->cells[table->count];
	*cell = (struct cell){ .text = strdup(text), .colour = colour };
	if (cell->text != NULL)
		table->count++;
}

void table_paint(const char *text, enum table_colour colour, bool colours, FILE *out)
{
	if (colours && colour != TABLE_PLAIN)
		fprintf(out, "%s%s\033[0m", escapes[colour], text);
	else
		fputs(text, out);
}

static bool to_the_right(const struct table *table, size_t column)
{
	return table->titles[column][0] == '>';
}

static const char *title(const struct table *table, size_t column)
{
	return table->titles[column] + (to_the_right(table, column) ? 1 : 0);
}

static size_t width(const struct table *table, size_t column)
{
	size_t widest = strlen(title(table, column));

	for (size_t i = column; i < table->count; i += table->columns) {
		size_t length = strlen(table->cells[i].text);
		if (length > widest)
			widest = length;
	}
	return widest;
}

/* Two blanks stand between columns, and none behind the last that says something. */
static void print_cell(const struct table *table, size_t column, size_t wide, const char *text,
	enum table_colour colour, bool colours, FILE *out)
{
	int pad = (int)(wide - strlen(text));
	bool last = column + 1 == table->columns;

	if (column > 0 && (!last || *text != '\0'))
		fputs("  ", out);
	if (to_the_right(table, column))
		fprintf(out, "%*s", pad, "");
	table_paint(text, colour, colours, out);
	if (!to_the_right(table, column) && !last)
		fprintf(out, "%*s", pad, "");
	if (last)
		fputs("\n", out);
}

void table_print(const struct table *table, bool colours, FILE *out)
{
	size_t *wide = calloc(table->columns, sizeof(*wide));

	if (wide == NULL)
		return;
	for (size_t c = 0; c < table->columns; c++)
		wide[c] = width(table, c);
	for (size_t c = 0; c < table->columns; c++)
		print_cell(table, c, wide[c], title(table, c), TABLE_DIM, colours, out);
	for (size_t i = 0; i + table->columns <= table->count; i += table->columns)
		for (size_t c = 0; c < table->columns; c++)
			print_cell(table, c, wide[c], table->cells[i + c].text,
				table->cells[i + c].colour, colours, out);
	free(wide);
}

void table_free(struct table *table)
{
	if (table == NULL)
		return;
	for (size_t i = 0; i < table->count; i++)
		free(table->cells[i].text);
	free(table->cells);
	free(table);
}
