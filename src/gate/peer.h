/*
 * peer: who is at the other end of the control socket.
 */
#ifndef PREFORKD_PEER_H
#define PREFORKD_PEER_H

#include <stdbool.h>

struct gatejob;

/* Root, the daemon's own user, or a member of the control group. */
bool peer_is_allowed(int fd, const struct gatejob *job);

#endif
