/*
 * err: one failure, in one sentence, with the exit code it asks for.
 *
 * Parsers and checks fill a struct err, or add to a list so that every mistake is shown at once.
 * Nothing here prints or exits: that is for the command and the log.
 */
#ifndef PREFORKD_ERR_H
#define PREFORKD_ERR_H

#include <stddef.h>

struct err {
	int code;       /* a sysexits(3) code: EX_CONFIG, EX_NOPERM, EX_UNAVAILABLE, ... */
	char text[512]; /* one sentence without a newline; longer texts are cut */
};

/* Fills *err and returns -1, so that a caller can write "return err_set(...)". err may be NULL. */
int err_set(struct err *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

struct err_list {
	struct err *items; /* owned */
	size_t count;
};

void err_list_add(struct err_list *list, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void err_list_free(struct err_list *list);

/* The exit code for the whole list: EX_CONFIG if any entry has it, else the first entry's, 0 when
 * the list is empty. */
int err_list_code(const struct err_list *list);

#endif
