/*
 * top: one loop over the keyboard, a look at the figures that is under way, and a reload.
 *
 * A daemon that does not answer is said and asked again: one that starts later is a normal thing to
 * wait for.
 */
#include "ctl/top.h"

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"
#include "ctl/answer.h"
#include "ctl/figures.h"
#include "ctl/rates.h"
#include "ctl/screen.h"
#include "ctl/wire.h"

#define PERIOD 1000 /* ms */

struct top {
	struct wire *wire;
	long timeout;
	struct wire_call *look, *reload; /* NULL: none is under way */
	uint64_t next;                   /* when to look again */
	struct figures *figures;
	uint64_t taken; /* when they were */
	struct screen_content content;
	struct order_row *rows;
	char message[1100];
	size_t first, room;
	bool lost;   /* the last look failed */
	bool asking; /* whether to reload */
};

/* A question stays until it is answered. */
static void say(struct top *top, bool bad, const char *what, const char *text)
{
	if (top->asking)
		return;
	snprintf(top->message, sizeof(top->message), "%s%s", what, text);
	top->content.bad = bad;
}

static void sort(struct top *top)
{
	free(top->rows);
	top->rows = NULL;
	top->content.count = 0;
	if (top->figures != NULL)
		top->rows = order_rows(top->figures, top->content.key, &top->content.count);
	top->content.figures = top->figures;
	top->content.rows = top->rows;
}

static void take(struct top *top, const struct wire_reply *reply)
{
	uint64_t now = clock_ms();
	struct answer answer;
	struct err err;
	struct figures *figures = NULL;

	if (reply->status == 200)
		figures = figures_read(reply->body, reply->length, &err);
	if (figures == NULL) {
		if (reply->status == 200)
			answer_fail(&err, &answer);
		else
			answer_read(reply, &answer);
		top->lost = true;
		say(top, true, "", answer.text);
		return;
	}
	rates_fill(figures, top->figures, (double)(now - top->taken) / 1e3);
	figures_free(top->figures);
	top->figures = figures;
	top->taken = now;
	if (top->lost)
		say(top, false, "", "");
	top->lost = false;
	sort(top);
}

/* Begins a look, or ends one. Has anything changed? */
static bool look(struct top *top)
{
	struct wire_reply reply = { 0 };
	struct err err;
	int end;

	if (top->look == NULL && clock_ms() >= top->next) {
		top->look = wire_begin(top->wire, WIRE_GET, "/status", top->timeout, &err);
		top->next = clock_ms() + PERIOD;
	}
	if (top->look == NULL || (end = wire_end(top->look, &reply, &err)) == 0)
		return false;
	top->look = NULL;
	if (end > 0)
		take(top, &reply);
	else
		say(top, true, "", err.text);
	top->lost = top->lost || end < 0;
	wire_reply_free(&reply);
	return true;
}

static bool reload(struct top *top)
{
	struct wire_reply reply = { 0 };
	struct answer answer;
	struct err err;
	int end;

	if (top->reload == NULL || (end = wire_end(top->reload, &reply, &err)) == 0)
		return false;
	top->reload = NULL;
	if (end > 0)
		answer_read(&reply, &answer);
	else
		answer_fail(&err, &answer);
	wire_reply_free(&reply);
	say(top, answer.code != EXIT_SUCCESS, answer.code != EXIT_SUCCESS ? "reload: " : "",
		answer.text);
	return true;
}

static void begin_reload(struct top *top)
{
	struct err err;

	top->reload = wire_begin(top->wire, WIRE_POST, "/reload", 0, &err);
	say(top, top->reload == NULL, "", top->reload != NULL ? "reloads" : err.text);
}

static void scroll_by(struct top *top, long rows)
{
	if (rows < 0 && (size_t)-rows > top->first)
		top->first = 0;
	else
		top->first += (size_t)rows; /* drawing knows where the end is */
}

static void sort_by(struct top *top, unsigned step)
{
	top->content.key = (top->content.key + step) % ORDER_COUNT;
	sort(top);
}

/* The question is answered by whatever key comes. */
static void answer_question(struct top *top, enum screen_key key)
{
	top->asking = false;
	say(top, false, "", "");
	if (key == SCREEN_YES)
		begin_reload(top);
}

static void act(struct top *top, enum screen_key key)
{
	switch (key) {
	case SCREEN_RELOAD:
		if (top->reload == NULL)
			say(top, false, "", "reload every pool? y or n");
		top->asking = top->reload == NULL;
		break;
	case SCREEN_SORT:
		sort_by(top, 1);
		break;
	case SCREEN_SORT_BACK:
		sort_by(top, ORDER_COUNT - 1);
		break;
	case SCREEN_UP:
		scroll_by(top, -1);
		break;
	case SCREEN_DOWN:
		scroll_by(top, 1);
		break;
	case SCREEN_PAGE_UP:
		scroll_by(top, -(long)top->room);
		break;
	case SCREEN_PAGE_DOWN:
		scroll_by(top, (long)top->room);
		break;
	case SCREEN_TOP:
		top->first = 0;
		break;
	case SCREEN_END:
		top->first = top->content.count;
		break;
	default:
		break;
	}
}

/* Is the terminal gone, and nobody there to press a key? */
static bool hung_up(void)
{
	struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };

	return poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR | POLLNVAL)) != 0;
}

/* Whether to go on. */
static bool keys(struct top *top, bool *changed)
{
	enum screen_key key;

	while ((key = screen_key()) != SCREEN_NONE) {
		*changed = true;
		if (key == SCREEN_QUIT && !top->asking)
			return false;
		if (top->asking && key != SCREEN_RESIZED)
			answer_question(top, key);
		else
			act(top, key);
	}
	return !hung_up();
}

static void loop(struct top *top)
{
	bool changed = true;

	for (;;) {
		if (!keys(top, &changed))
			return;
		changed = look(top) || changed;
		changed = reload(top) || changed;
		top->content.stale = top->lost && top->figures != NULL;
		if (changed)
			top->room = screen_draw(&top->content, &top->first);
		changed = false;
		uint64_t now = clock_ms();
		int wait = top->next > now ? (int)(top->next - now) : 0;
		wire_turn(top->wire, STDIN_FILENO, top->look != NULL ? PERIOD : wait);
	}
}

int top_run(struct wire *wire, long timeout, struct err *err)
{
	struct top top = { .wire = wire, .timeout = timeout };

	top.content.message = top.message;
	if (screen_open(err) != 0)
		return -1;
	loop(&top);
	screen_close();
	wire_drop(top.look);
	wire_drop(top.reload);
	free(top.rows);
	figures_free(top.figures);
	return 0;
}
