/*
 * sockets: looks at the sockets of another process (/proc/PID/fd, pidfd_getfd(2)).
 *
 * A duplicate keeps a socket open that its process closes meanwhile: the process may then get an
 * event for a descriptor that it has no more, and its peer sees the end late. So duplicates are for
 * processes that stand still; the sockets of one that runs are told by their inode numbers.
 */
#ifndef PREFORKD_SOCKETS_H
#define PREFORKD_SOCKETS_H

#include <stdbool.h>
#include <sys/types.h>

/* False and errno where the process cannot be looked into by duplicates, or has gone. */
bool sockets_permitted(pid_t pid);

/* Shows match() a duplicate of each socket of the process until it says true. Returns 1 if it did,
 * or there were too many descriptors to show them all; 0 if it never did; -1 and errno where we may
 * not look or the process has gone. */
int sockets_find(pid_t pid, bool (*match)(int fd, const void *arg), const void *arg);

/* A socket of a process that may run. */
struct socket_seen {
	pid_t pid;
	int fd; /* there */
	ino_t inode;
	bool is_unix, is_tcp; /* neither: of another family, or it cannot be told */
};
/* The same without duplicates; 0 for too many. */
int sockets_find_seen(
	pid_t pid, bool (*match)(const struct socket_seen *socket, void *arg), void *arg);
/* Has the process still got it, under the same number? */
bool sockets_is_still(const struct socket_seen *socket);
/* One of them, duplicated all the same, for as short as it can be; -1 and errno. */
int sockets_duplicate(const struct socket_seen *socket);

bool sockets_is_listening(int fd);

#endif
