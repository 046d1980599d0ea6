/*
 * upgrade: the way from one image of the master to the next, in the same process.
 *
 * The program that now stands where ours stood is asked first, in a child with the whole state and
 * every descriptor: it checks itself and the configuration, restores everything, and ends. Only one
 * that says that it can is executed. Must never change anything that the old image needs to go on.
 */
#ifndef PREFORKD_UPGRADE_H
#define PREFORKD_UPGRADE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/types.h>

struct err;
struct event;
struct event_base;
struct origin;
struct state_out;

/* All zero: none is under way. */
struct upgrade {
	pid_t pid; /* of the child that is asked; 0: none, or it has ended */
	/* private */
	bool underway;
	int status;        /* its wait status */
	uint64_t deadline; /* of its answer */
	bool late;
	struct stat asked; /* the program's file */
	int fd;            /* what it prints */
	struct event *event;
	size_t used;
	char text[8000];
};

/* Asks the program. state has been sealed, and may be dropped afterwards. */
int upgrade_ask(struct upgrade *u, struct event_base *base, const struct origin *origin,
	const struct state_out *state, uint64_t now, struct err *err);
/* It has not been reaped yet. True: it was the child. */
bool upgrade_died(struct upgrade *u, pid_t pid, int status);

enum upgrade_news { UPGRADE_NONE, UPGRADE_ASKING, UPGRADE_GRANTED, UPGRADE_REFUSED };
/* *next is when to call it again. What the child printed is in the log when there is an answer;
 * UPGRADE_REFUSED fills *err, and then none is under way. */
enum upgrade_news upgrade_follow(struct upgrade *u, const struct origin *origin, uint64_t *next,
	uint64_t now, struct err *err);
bool upgrade_is_underway(const struct upgrade *u);
/* No longer wanted. */
void upgrade_cancel(struct upgrade *u);

/* Becomes the program. Signals are blocked, and state is sealed. Returns only when that fails; then
 * nothing has changed. */
void upgrade_execute(const struct origin *origin, const struct state_out *state, struct err *err);

/* The next image: the descriptor of the state; -1: an ordinary start. */
int upgrade_inherited(void);
/* What it answers when it is asked. */
void upgrade_consent(FILE *out);

#endif
