/*
 * kept: connections that the web server keeps open between two requests (FCGI_KEEP_CONN).
 *
 * They wait in the worker's epoll set. When the worker leaves, it hands them over to its siblings,
 * the next generation among them: with whatever has arrived on them, so that the client sees
 * nothing.
 */
#ifndef PREFORKD_KEPT_H
#define PREFORKD_KEPT_H

#include <stdbool.h>
#include <stddef.h>

#define KEPT_MAX 256 /* of one worker */

struct kept {
	int fds[KEPT_MAX];
	size_t count, most;
};

/* At most half of the descriptors that the worker may have: the application needs some. */
void kept_limit(struct kept *kept);

/* False: there are as many as there may be. */
bool kept_add(struct kept *kept, int fd);
void kept_forget(struct kept *kept, int fd);
/* Any one of them, which is then no longer in the set; -1 when there is none. */
int kept_take(struct kept *kept);

/* Is there still somebody who could be given one? */
bool kept_has_siblings(int handover);
/* Does one that was given away still wait? Then every sibling is busy. */
bool kept_is_waiting(int handover);
/* Gives a connection to whoever receives first, and closes it here. False: nobody can have it (the
 * pool stops, or too many are under way), and it is still ours. Never waits. */
bool kept_send(int handover, int fd);
/* A connection that a sibling gave away; -1 with errno EAGAIN: another was faster; any other errno:
 * there will be no more. Never waits. */
int kept_receive(int handover);

#endif
