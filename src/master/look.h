/*
 * look: what a program is doing, seen from outside through /proc.
 *
 * A program that was exec'd cannot say that it is ready: it is when it waits for a connection. What
 * is read here belongs to another user's process: numbers are clamped, nothing is trusted.
 */
#ifndef PREFORKD_LOOK_H
#define PREFORKD_LOOK_H

#include <sys/types.h>

enum look {
	LOOK_RUNNING,  /* it does something else, or it cannot be seen */
	LOOK_SLEEPING, /* it waits in poll, select, epoll or something unknown: look again */
	LOOK_ACCEPTING /* it, or a child of it, waits in accept */
};

enum look look_at(pid_t pid);

#endif
