/*
 * grip: whether a program has a connection from the pool's listener in hand, seen from outside.
 *
 * What is accepted from a listener has its name. At a process that stands still this is asked of
 * duplicates of its sockets, and the answer is sure. One that runs is looked at from afar where a
 * duplicate could harm it, and the answer is of a moment ago.
 */
#ifndef PREFORKD_GRIP_H
#define PREFORKD_GRIP_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>

/* The listener that a program takes connections from. */
struct grip_listener {
	struct sockaddr_storage name;
	socklen_t length; /* of name; 0: unknown, nothing is found */
	ino_t inode;
};
void grip_init(struct grip_listener *l, int listener);

/* One process. Where we may not look we know of none. */
bool grip_holds(pid_t pid, const struct grip_listener *l);
/* Has the process the listener itself? */
bool grip_listens(pid_t pid, const struct grip_listener *l);

/* What a running worker, with its descendants, does with connections from the listener. */
struct grip {
	bool holds;
	bool reads;       /* and waits on it for its client */
	ino_t connection; /* inode number of one that it holds */
};
void grip_look(pid_t worker, const struct grip_listener *l, struct grip *out);
/* Does it hold one? */
bool grip_seen(pid_t worker, const struct grip_listener *l);

#endif
