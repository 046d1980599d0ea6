/*
 * fds: a new process closes what it has inherited; what is still in a socket.
 */
#ifndef PREFORKD_FDS_H
#define PREFORKD_FDS_H

#include <stddef.h>

/* Closes everything above 2 but for these, -1 among them is none; sorts them. -1 and errno on
 * failure. */
int fds_close_others(int *keep, size_t count);

/* What was sent into a socket and the other end has not taken, as the kernel counts it (SIOCOUTQ of
 * tcp(7); of a unix socket with what it needs for each message). 0: nothing; -1 on failure. */
int fds_untaken(int fd);

#endif
