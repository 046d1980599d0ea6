/*
 * wire: HTTP to the gate over its unix socket.
 *
 * A call is begun, moved on by turns, and ended, so that "top" can look at the keyboard meanwhile;
 * wire_ask() does all three. Every failure is one sentence with the exit code of the command. A
 * command is sent once and never again: whether a lost one was carried out is not known.
 */
#ifndef PREFORKD_CTL_WIRE_H
#define PREFORKD_CTL_WIRE_H

#include <stddef.h>
#include <sys/types.h>

struct err;

enum wire_method { WIRE_GET, WIRE_POST };

struct wire;      /* a socket, and the connection to it that is kept */
struct wire_call; /* a request under way */

struct wire_reply {
	long status; /* of HTTP */
	char *body;  /* owned; a NUL stands behind its end */
	size_t length;
};

/* path must outlive it. NULL with *err filled. */
struct wire *wire_open(const char *path, struct err *err);
void wire_close(struct wire *wire);

/* Who listens there: the master's pid, 0 where it is not known. */
pid_t wire_peer(const struct wire *wire);

/* Begins a request. timeout in ms; 0: none. NULL with *err filled. */
struct wire_call *wire_begin(struct wire *wire, enum wire_method method, const char *target,
	long timeout, struct err *err);
/* Moves every call on. Comes back when one moved, when fd can be read (-1: none), when a signal
 * came, or after wait ms (-1: as long as it takes). */
void wire_turn(struct wire *wire, int fd, int wait);
/* 0: goes on. 1: *reply is filled; -1: *err is. Then the call is gone. */
int wire_end(struct wire_call *call, struct wire_reply *reply, struct err *err);
void wire_drop(struct wire_call *call);

/* One request from begin to end. 0, or -1 with *err filled. */
int wire_ask(struct wire *wire, enum wire_method method, const char *target, long timeout,
	struct wire_reply *reply, struct err *err);
void wire_reply_free(struct wire_reply *reply);

/* NAME as a part of a target; owned by the caller; NULL without memory. */
char *wire_quote(const char *name);

#endif
