/*
 * queue: how many connections wait on a listener for somebody to accept them, and how many may.
 *
 * The kernel knows, for every kind of worker: TCP_INFO on a TCP listener, sock_diag(7) for unix
 * sockets; neither wants a privilege.
 */
#ifndef PREFORKD_QUEUE_H
#define PREFORKD_QUEUE_H

struct queue {
	unsigned waiting, most;
};

/* -1 where the kernel does not tell: *out is then one connection if there is any. Never waits. */
int queue_read(int listener, struct queue *out);

#endif
