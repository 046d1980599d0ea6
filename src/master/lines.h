/*
 * lines: bytes as they come out of a pipe, cut into lines of bounded length.
 *
 * Pure: no system call, no allocation, no clock. However the bytes are cut, the lines are the same.
 */
#ifndef PREFORKD_LINES_H
#define PREFORKD_LINES_H

#include <stddef.h>

#define LINES_LONGEST 960 /* bytes; what is longer becomes several lines */

/* All zero: nothing has come yet. Only lines.c writes here. */
struct lines {
	char bytes[LINES_LONGEST + 1]; /* a carriage return may stand behind the longest */
	size_t used, told;             /* what has been told goes with the next call */
};

struct lines_line {
	const char *bytes; /* NULL: no line; into struct lines, until the next call */
	size_t length;     /* without its end, which is "\n" or "\r\n" */
};

/* The first line that the bytes complete; returns how many of them it used. */
size_t lines_next(struct lines *lines, const char *bytes, size_t length, struct lines_line *line);
/* What has come of an unfinished line, as it came. */
struct lines_line lines_rest(const struct lines *lines);
/* Nothing more will come: the unfinished line, if there is any. */
struct lines_line lines_last(const struct lines *lines);

#endif
