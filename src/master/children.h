/*
 * children: what waitid(2) knows of the master's children: deaths, and stops of those that are
 * traced.
 */
#ifndef PREFORKD_CHILDREN_H
#define PREFORKD_CHILDREN_H

#include <sys/types.h>

/* Status as of waitpid(2). died() is called while the dead child is still there, so that its pid
 * cannot be given to another; stopped() may let it go on. Returns when there is no news. */
void children_reap(void (*died)(pid_t pid, int status, void *arg),
	void (*stopped)(pid_t pid, int status, void *arg), void *arg);

#endif
