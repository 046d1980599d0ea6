/*
 * err: sentences with exit codes, and lists of them.
 *
 * The room where a failure becomes words before anybody decides what to do about it. Must never
 * print, log or exit, and adding to a list must never fail: without memory the list shrinks to the
 * one sentence that says so.
 */
#include "common/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

/* What a list becomes when it cannot grow; never written to and never freed. */
static struct err no_memory = { .code = EX_OSERR, .text = "out of memory" };

int err_set(struct err *err, int code, const char *fmt, ...)
{
	va_list ap;

	if (err == NULL)
		return -1;
	err->code = code;
	va_start(ap, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	return -1;
}

void err_list_add(struct err_list *list, int code, const char *fmt, ...)
{
	struct err *items;
	va_list ap;

	if (list->items == &no_memory)
		return;
	items = reallocarray(list->items, list->count + 1, sizeof(*items));
	if (items == NULL) {
		free(list->items);
		list->items = &no_memory;
		list->count = 1;
		return;
	}
	list->items = items;
	items += list->count++;
	items->code = code;
	va_start(ap, fmt);
	vsnprintf(items->text, sizeof(items->text), fmt, ap);
	va_end(ap);
}

void err_list_free(struct err_list *list)
{
	if (list->items != &no_memory)
		free(list->items);
	list->items = NULL;
	list->count = 0;
}

int err_list_code(const struct err_list *list)
{
	if (list->count == 0)
		return 0;
	for (size_t i = 0; i < list->count; i++)
		if (list->items[i].code == EX_CONFIG)
			return EX_CONFIG;
	return list->items[0].code;
}
