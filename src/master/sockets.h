/*
 * sockets: looks at the sockets of another process (pidfd_getfd(2), /proc/PID/fd).
 */
#ifndef PREFORKD_SOCKETS_H
#define PREFORKD_SOCKETS_H

#include <stdbool.h>
#include <sys/types.h>

/* Shows match() a duplicate of each socket of the process until it says true. Returns 1 if it did,
 * 0 if it never did, -1 and errno where we may not look or the process has gone. */
int sockets_find(pid_t pid, bool (*match)(int fd, const void *arg), const void *arg);

bool sockets_is_listening(int fd);

#endif
