/*
 * screen: lines of text from the top to the bottom; what does not fit is cut.
 *
 * ncurses keeps the terminal to itself, in its own globals; this is the one file that calls it. It
 * gives the terminal back on SIGINT and SIGTERM, too.
 */
#include "ctl/screen.h"

#define NCURSES_NOMACROS
#include <ncurses.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/err.h"
#include "ctl/figures.h"
#include "ctl/print.h"
#include "ctl/summary.h"

#define LINE 1024
#define WIDE 120 /* columns from which on workers have more of their own */
#define NAME_MAX_SHOWN 20

enum { PAIR_GOOD = 1, PAIR_WARN, PAIR_BAD }; /* 0 is the terminal's own */

int screen_open(struct err *err)
{
	const char *no = getenv("NO_COLOR");

	if (isatty(STDIN_FILENO) != 1 || isatty(STDOUT_FILENO) != 1)
		return err_set(err, EXIT_FAILURE, "top needs a terminal");
	if (newterm(NULL, stdout, stdin) == NULL)
		return err_set(err, EXIT_FAILURE, "the terminal is of an unknown type");
	cbreak();
	noecho();
	nonl();
	curs_set(0);
	keypad(stdscr, true);
	nodelay(stdscr, true);
	set_escdelay(50);
	if (has_colors() && (no == NULL || *no == '\0') && start_color() == OK) {
		use_default_colors();
		init_pair(PAIR_GOOD, COLOR_GREEN, -1);
		init_pair(PAIR_WARN, COLOR_YELLOW, -1);
		init_pair(PAIR_BAD, COLOR_RED, -1);
	}
	return 0;
}

void screen_close(void)
{
	endwin();
}

enum screen_key screen_key(void)
{
	switch (getch()) {
	case ERR:
		return SCREEN_NONE;
	case KEY_RESIZE:
		return SCREEN_RESIZED;
	case 'q':
	case 'Q':
		return SCREEN_QUIT;
	case 'R':
	case 'r':
		return SCREEN_RELOAD;
	case 'y':
	case 'Y':
		return SCREEN_YES;
	case 's':
		return SCREEN_SORT;
	case 'S':
		return SCREEN_SORT_BACK;
	case KEY_UP:
	case 'k':
		return SCREEN_UP;
	case KEY_DOWN:
	case 'j':
		return SCREEN_DOWN;
	case KEY_PPAGE:
		return SCREEN_PAGE_UP;
	case KEY_NPAGE:
	case ' ':
		return SCREEN_PAGE_DOWN;
	case KEY_HOME:
		return SCREEN_TOP;
	case KEY_END:
		return SCREEN_END;
	default:
		return SCREEN_OTHER;
	}
}

static short pair_of(enum table_colour colour)
{
	static const short pairs[] = { [TABLE_GOOD] = PAIR_GOOD,
		[TABLE_WARN] = PAIR_WARN,
		[TABLE_BAD] = PAIR_BAD,
		[TABLE_DIM] = 0 };

	return pairs[colour];
}

/* One line, if there is room for it; filled up to the edge, so that a bar is a bar. */
static void __attribute__((format(printf, 3, 4)))
put(int line, attr_t attributes, const char *fmt, ...)
{
	char text[LINE];
	va_list ap;

	if (line >= LINES)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	attrset((int)attributes);
	mvaddnstr(line, 0, text, COLS);
	for (int x = (int)strlen(text); (attributes & A_REVERSE) != 0 && x < COLS; x++)
		mvaddch(line, x, ' ');
	attrset(A_NORMAL);
}

/* A word of a line in its colour. */
static void colour_part(int line, int column, int width, enum table_colour colour)
{
	attr_t attributes = A_NORMAL;

	if (colour == TABLE_BAD)
		attributes = A_BOLD;
	else if (colour == TABLE_DIM)
		attributes = A_DIM;
	if (line < LINES && column < COLS)
		mvchgat(line, column, width, attributes, pair_of(colour), NULL);
}

static void put_head(const struct screen_content *content)
{
	const struct figures *f = content->figures;
	char up[PRINT_WIDTH], pid[PRINT_WIDTH], rate[PRINT_WIDTH], queue[PRINT_WIDTH];
	int64_t busy = 0, live = 0, waiting = 0;
	double rates = -1;

	for (size_t i = 0; i < f->count; i++) {
		const struct figures_pool *pool = &f->pools[i];
		busy += pool->busy > 0 ? pool->busy : 0;
		live += pool->live > 0 ? pool->live : 0;
		waiting += pool->queue > 0 ? pool->queue : 0;
		if (pool->rate >= 0)
			rates = (rates < 0 ? 0 : rates) + pool->rate;
	}
	put(0, A_BOLD, "preforkd %s, pid %s, %s, up %s", f->version, print_number(f->pid, pid),
		f->state, print_seconds(f->started > 0 ? f->now - f->started : -1, up));
	put(1, A_NORMAL,
		"%s requests/s, %lld of %lld workers busy, %s waiting, %lld reloads, %lld failed",
		print_rate(rates, rate), (long long)busy, (long long)live,
		print_number(waiting, queue), (long long)f->reloads.done,
		(long long)f->reloads.failed);
}

static int name_width(const struct figures *f)
{
	size_t widest = 4;

	for (size_t i = 0; i < f->count; i++)
		if (strlen(f->pools[i].name) > widest)
			widest = strlen(f->pools[i].name);
	return (int)(widest < NAME_MAX_SHOWN ? widest : NAME_MAX_SHOWN);
}

/* What matters most comes first: narrow terminals cut the rest. */
#define POOL_LINE "%-*.*s %-9s %5s %5s %5s %6s %7s %7s %6s %6s %8s %11s %7s %7s"

static char *print_traffic(double bytes, char *out)
{
	return print_bytes(bytes >= 0 && bytes < 1e18 ? (int64_t)(bytes + 0.5) : -1, out);
}

static void put_pool(int line, int wide, const struct figures_pool *pool)
{
	char text[12][PRINT_WIDTH];

	put(line, A_NORMAL, POOL_LINE, wide, wide, pool->name, pool->state,
		print_number(pool->idle, text[0]), print_number(pool->busy, text[1]),
		print_number(pool->starting, text[2]), print_number(pool->retiring, text[3]),
		print_number(pool->queue, text[4]), print_rate(pool->rate, text[5]),
		summary_within(&pool->recent, 50, text[6]),
		summary_within(&pool->recent, 95, text[7]),
		pool->backoff ? print_seconds(pool->ends_in, text[8]) : "-",
		print_number(pool->requests, text[9]), print_traffic(pool->rate_in, text[10]),
		print_traffic(pool->rate_out, text[11]));
	colour_part(line, wide + 1, (int)strlen(pool->state), summary_colour(pool->state));
}

/* At most half of the screen is for pools. Returns the next free line. */
static int put_pools(int line, int wide, const struct figures *f)
{
	size_t room = (size_t)(LINES / 2 > line + 1 ? LINES / 2 - line - 1 : 1), shown = 0;

	put(line++, A_REVERSE, POOL_LINE, wide, wide, "POOL", "STATE", "IDLE", "BUSY", "START",
		"RETIRE", "WAITING", "REQ/S", "P50", "P95", "BACK-OFF", "REQUESTS", "IN/S",
		"OUT/S");
	while (shown < f->count && shown < room)
		put_pool(line++, wide, &f->pools[shown++]);
	if (shown < f->count)
		put(line++, A_DIM, "and %zu more pools", f->count - shown);
	return line;
}

#define MORE " %5s %6s %6s %8s %7s"

/* Of a wide terminal; of others, nothing. */
static char *print_more(const struct figures_worker *w, char *out, size_t size)
{
	char held[PRINT_WIDTH], in[PRINT_WIDTH], sent[PRINT_WIDTH];
	char last[PRINT_WIDTH], total[PRINT_WIDTH];

	out[0] = '\0';
	if (COLS >= WIDE)
		snprintf(out, size, MORE, print_number(w->connections, held),
			print_bytes(w->bytes_in, in), print_bytes(w->bytes_out, sent),
			print_seconds(w->total, total), print_seconds(w->last, last));
	return out;
}

static void put_worker(int line, int wide, const struct order_row *row)
{
	const struct figures_worker *w = row->worker;
	char time[PRINT_WIDTH], cpu[PRINT_WIDTH] = "-", memory[PRINT_WIDTH], count[PRINT_WIDTH];
	char more[LINE];

	if (w->cpu_share >= 0)
		print_rate(w->cpu_share * 100, cpu);
	put(line, A_NORMAL, "%-*.*s %5lld %7lld %-9s %8s %6s %7s %10s%s  %s %s", wide, wide,
		row->pool->name, (long long)w->slot, (long long)w->pid, w->state,
		print_seconds(w->request.seconds > 0 ? w->request.seconds : -1, time), cpu,
		print_bytes(w->resident, memory), print_number(w->requests, count),
		print_more(w, more, sizeof(more)), w->request.method, w->request.path);
	colour_part(line, wide + 15, (int)strlen(w->state), summary_colour(w->state));
}

static size_t put_workers(int line, int wide, const struct screen_content *content, size_t *first)
{
	size_t room = (size_t)(LINES - 1 > line + 1 ? LINES - 1 - line - 1 : 0);
	size_t last = content->count > room ? content->count - room : 0;
	char more[LINE];

	if (*first > last)
		*first = last;
	snprintf(more, sizeof(more), MORE, "CONN", "IN", "OUT", "TOTAL", "LAST");
	put(line++, A_REVERSE, "%-*s %5s %7s %-9s %8s %6s %7s %10s%s  %s", wide, "POOL", "SLOT",
		"PID", "STATE", "TIME", "CPU%", "MEMORY", "REQUESTS", COLS >= WIDE ? more : "",
		"REQUEST");
	for (size_t i = *first; i < content->count && i < *first + room; i++)
		put_worker(line++, wide, &content->rows[i]);
	return room;
}

size_t screen_draw(const struct screen_content *content, size_t *first)
{
	size_t room = 0;
	int line = 0, wide;

	erase();
	if (content->figures != NULL) {
		wide = name_width(content->figures);
		put_head(content);
		line = put_pools(3, wide, content->figures);
		room = put_workers(line + 1, wide, content, first);
	}
	if (*content->message != '\0')
		put(2, content->bad ? A_REVERSE | A_BOLD : A_BOLD, "%s", content->message);
	put(LINES - 1, A_REVERSE, "q quit  s sort (%s)  r reload  arrows scroll%s",
		order_name(content->key), content->stale ? "  OLD FIGURES" : "");
	refresh();
	return room;
}
