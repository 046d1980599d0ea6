/*
 * line: the gate's end of the socket to the master: asks for snapshots and commands.
 */
#ifndef PREFORKD_LINE_H
#define PREFORKD_LINE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/gatejob.h"

struct event_base;
struct ledger;
struct line;

struct line_news {
	void (*ended)(void *arg);    /* the master is gone, or wants the gate to go */
	void (*relieved)(void *arg); /* another gate has taken over */
	void *arg;
};

/* Takes over both descriptors. NULL on failure. */
struct line *line_open(
	struct event_base *base, int fd, int ledger_fd, const struct line_news *news);

/* NULL: the master did not answer in time. What is given stands until the loop goes on. */
typedef void (*line_reader)(const struct ledger *ledger, void *arg);
/* A snapshot that is not older than a moment: calls at once, or when it is there. False: no memory,
 * and it will not call. */
bool line_snapshot(struct line *line, line_reader reader, void *arg);
/* Another number for each snapshot. */
uint64_t line_serial(const struct line *line);

typedef void (*line_listener)(enum gatejob_status status, const char *text, void *arg);
/* Calls when the command has been carried out or has failed. False: too many wait, and it will not
 * call. */
bool line_command(struct line *line, enum gatejob_verb verb, const char *pool, unsigned number,
	line_listener listener, void *arg);

#endif
