/*
 * accesslog: a line for each request, in a file that the master has opened.
 *
 * A line is one write(2) to the end of the file. What cannot be written is lost and counted, and no
 * request waits for room. Whether the file is another one now is looked at before each line.
 */
#ifndef PREFORKD_ACCESSLOG_H
#define PREFORKD_ACCESSLOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "worker/logline.h"

struct board_seat;
struct job;
struct logformat;

struct accesslog {
	int socket; /* where the file is to be had; readable when that is another one; -1: no log */
	int fd;
	uint32_t reopens; /* of the scoreboard, when it was had */
	const struct board_seat *seat;
	struct logformat *format;
	struct logline facts;  /* those that all lines have in common */
	char *line;            /* room for one, and a newline before it */
	uint64_t offset_until; /* s since 1970: local time is to be asked again then */
};

/* Before chroot: local time is read here. False with errno: it cannot be had. */
bool accesslog_open(struct accesslog *log, const struct job *job, const struct board_seat *seat);
bool accesslog_is_on(const struct accesslog *log);
/* Takes the new file, if there is one. */
void accesslog_follow(struct accesslog *log);
/* Of a request that has just ended; the facts but for those of the log itself. */
void accesslog_write(struct accesslog *log, const struct logline *facts);
/* The same from a signal handler. */
void accesslog_write_dying(struct accesslog *log, const struct logline *facts);

#endif
