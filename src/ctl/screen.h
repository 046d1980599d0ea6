/*
 * screen: the terminal of "preforkctl top", drawn by ncurses.
 *
 * Draws what it is given, sized to what the terminal is at that moment, and reads keys.
 */
#ifndef PREFORKD_CTL_SCREEN_H
#define PREFORKD_CTL_SCREEN_H

#include <stddef.h>

#include "ctl/order.h"

struct err;

enum screen_key {
	SCREEN_NONE, /* no key is waiting */
	SCREEN_RESIZED,
	SCREEN_OTHER, /* one without a meaning */
	SCREEN_QUIT,
	SCREEN_RELOAD,
	SCREEN_YES,
	SCREEN_SORT,
	SCREEN_SORT_BACK,
	SCREEN_UP,
	SCREEN_DOWN,
	SCREEN_PAGE_UP,
	SCREEN_PAGE_DOWN,
	SCREEN_TOP,
	SCREEN_END,
};

struct screen_content {
	const struct figures *figures; /* NULL: none yet */
	const struct order_row *rows;
	size_t count;
	enum order_key key;
	const char *message; /* empty: none */
	int bad;             /* it is bad news */
	int stale;           /* the figures are old */
};

int screen_open(struct err *err);
void screen_close(void);
enum screen_key screen_key(void);
/* first: the row at the top of the list; moved to where there is one. Returns how many rows the
 * list shows. */
size_t screen_draw(const struct screen_content *content, size_t *first);

#endif
