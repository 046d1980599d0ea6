/*
 * bind: one listening socket made right from the start: permissions, filter, backlog.
 *
 * Owns the Linux-only knowledge of sockets: file ownership at bind, the packet filter, live or
 * stale.
 */
#ifndef PREFORKD_BIND_H
#define PREFORKD_BIND_H

#include <stdbool.h>
#include <sys/types.h>

struct address;
struct conf_pool;
struct err;

/* The file of a unix socket that we bound, to be removed only if it is still ours. */
struct bind_file {
	int dir; /* descriptor of its directory; -1: no file */
	char name[108];
	dev_t dev;
	ino_t ino;
};

/*
 * Binds and listens for the pool at the wanted address. Returns the descriptor (close-on-exec,
 * *file filled for a unix path) or -1 with *err: EX_UNAVAILABLE when the address is in use,
 * EX_CANTCREAT when the socket cannot be made, EX_NOPERM when it is not permitted.
 */
int bind_open(const struct conf_pool *pool, const struct address *wanted, struct bind_file *file,
	struct err *err);

/* What every listener gets, an adopted one too: filter, backlog, blocking or not. */
int bind_dress(
	int fd, const struct conf_pool *pool, const struct address *address, struct err *err);

/* Exec'd programs want a blocking listener, our own loop one that never blocks. */
int bind_set_blocking(int fd, const struct conf_pool *pool);
bool bind_is_set(int fd, const struct conf_pool *pool);

/* Does it still listen? Whoever shares a listener can shut it down for all. */
bool bind_is_alive(int fd);

/* Newcomers are refused from now on, at once; who is in the queue can still be accepted. For
 * an abstract unix socket accept(2) then fails with EINVAL when the queue is empty. False: it
 * cannot be. */
bool bind_close(int fd, struct bind_file *file);

/* Removes the socket's file if it is the one that was bound; closes file->dir. */
void bind_remove(struct bind_file *file);

/* What bind_open() would say; leaves nothing behind and changes nothing. Not for fd:NAME. */
int bind_check(const struct address *wanted, struct err *err);

#endif
