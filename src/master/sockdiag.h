/*
 * sockdiag: what the kernel tells of sockets that are not ours (sock_diag(7)).
 *
 * Only sockets of our own network namespace are seen. No privilege is wanted, nothing is changed,
 * nothing waits: the kernel answers before send(2), or the recv(2) that asks for more, returns.
 */
#ifndef PREFORKD_SOCKDIAG_H
#define PREFORKD_SOCKDIAG_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/un.h>

struct sockdiag_unix {
	bool connected;          /* or was, until its peer went */
	unsigned waiting, most;  /* of a listening one: connections nobody has accepted yet */
	struct sockaddr_un name; /* that it is bound to; what was accepted has its listener's */
	socklen_t length;        /* of name; 0: none, or it cannot be told */
};
/* By inode number. 1: found; 0: there is none; -1: cannot ask. */
int sockdiag_unix(ino_t inode, struct sockdiag_unix *out);

/* The TCP sockets of a family that have this local port. */
struct sockdiag_tcp {
	ino_t *connections; /* inode numbers, ascending, of what was accepted or connected */
	size_t count;
	ino_t *listeners;
	size_t listener_count;
};
/* -1 if it cannot ask, or there are too many: *out is empty then. */
int sockdiag_tcp(int family, in_port_t port, struct sockdiag_tcp *out);
void sockdiag_tcp_free(struct sockdiag_tcp *tcp);

#endif
