/*
 * fds: a new process closes what it has inherited.
 */
#ifndef PREFORKD_FDS_H
#define PREFORKD_FDS_H

#include <stddef.h>

/* Closes everything above 2 but for these, -1 among them is none; sorts them. -1 and errno on
 * failure. */
int fds_close_others(int *keep, size_t count);

#endif
