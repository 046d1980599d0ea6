/*
 * conferr: mistakes with places.
 *
 * Reading goes section by section and checks go across files, so mistakes are found in another
 * order than people look for them. Here they wait, and leave sorted and escaped. Must never decide
 * what a mistake is, and never prints.
 */
#include "common/conferr.h"

#define LIBBSD_OPENBSD_VIS /* its strnvis(); not used here, but the header asks */
#include <bsd/vis.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#define VIS_FLAGS (VIS_CSTYLE | VIS_OCTAL | VIS_NL | VIS_TAB | VIS_NOLOCALE)

struct conferr_item {
	struct conf_place place;
	size_t rank; /* of the file, in the order of reading */
	size_t found;
	struct err err;
};

void conferr_add(struct conferr *list, struct conf_place place, int code, const char *fmt, ...)
{
	struct conferr_item *items = reallocarray(list->items, list->count + 1, sizeof(*items));
	va_list ap;

	if (items == NULL) {
		list->no_memory = true;
		return;
	}
	list->items = items;
	items += list->count;
	*items = (struct conferr_item){ .place = place, .found = list->count++ };
	items->err.code = code;
	va_start(ap, fmt);
	vsnprintf(items->err.text, sizeof(items->err.text), fmt, ap);
	va_end(ap);
}

static int by_place(const void *left, const void *right)
{
	const struct conferr_item *a = left, *b = right;

	if (a->rank != b->rank)
		return a->rank < b->rank ? -1 : 1;
	if (a->place.line != b->place.line)
		return a->place.line < b->place.line ? -1 : 1;
	return a->found < b->found ? -1 : 1;
}

/* For free(); NULL without memory. */
static char *escape(const char *text)
{
	size_t length = strlen(text);
	char *out = malloc(4 * length + 1);

	if (out != NULL && strvisx(out, text, length, VIS_FLAGS) < 0) {
		free(out);
		return NULL;
	}
	return out;
}

static void deliver(const struct conferr_item *item, struct err_list *out)
{
	const struct conf_place *place = &item->place;
	char *text = escape(item->err.text);
	char *file = escape(place->file != NULL ? place->file : "");

	if (text == NULL || file == NULL)
		err_list_add(out, EX_OSERR, "out of memory");
	else if (place->file == NULL)
		err_list_add(out, item->err.code, "%s", text);
	else if (place->line == 0)
		err_list_add(out, item->err.code, "%s: %s", file, text);
	else
		err_list_add(out, item->err.code, "%s:%u: %s", file, place->line, text);
	free(text);
	free(file);
}

void conferr_deliver(struct conferr *list, char **files, struct err_list *out)
{
	for (size_t i = 0; i < list->count; i++)
		for (size_t f = 0; files != NULL && files[f] != NULL; f++)
			if (files[f] == list->items[i].place.file)
				list->items[i].rank = f + 1;
	if (list->count > 1)
		qsort(list->items, list->count, sizeof(*list->items), by_place);
	for (size_t i = 0; i < list->count; i++)
		deliver(&list->items[i], out);
	if (list->no_memory)
		err_list_add(out, EX_OSERR, "out of memory");
	free(list->items);
	*list = (struct conferr){ 0 };
}
