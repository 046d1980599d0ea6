/*
 * listen: the set of listeners that the master holds, by address.
 *
 * A listener lives as long as a generation of some pool uses it, so that a reload keeps the socket
 * (and whoever waits in its backlog) where the address is unchanged. Sockets handed in by systemd
 * wait here until a pool asks for them, and are never removed.
 */
#ifndef PREFORKD_LISTEN_H
#define PREFORKD_LISTEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct address;
struct conf;
struct conf_pool;
struct err;
struct err_list;
struct event_base;
struct listen_set;
struct state_in;
struct state_out;

enum listen_door {
	LISTEN_OPEN,
	LISTEN_CLOSED, /* newcomers are refused; who waits in the queue can be accepted */
	LISTEN_LENT,   /* it was handed in: whoever comes waits for the next one who gets it */
	LISTEN_SHARED, /* others use it, too */
};

struct listener {
	int fd;
	const char *text; /* its address, for the log */
	unsigned high;    /* the longest queue that was seen */
	enum listen_door door;
};

struct listen_set *listen_new(void);
/* Takes over LISTEN_FDS (sd_listen_fds(3)) and clears the variables. Call once, before any fork. */
int listen_adopt(struct listen_set *set, struct err *err);
/* Logs and closes handed-in sockets that no pool has asked for. */
void listen_drop_unused(struct listen_set *set);

/* The listener of a pool at an address: one that is there already, or a new one. Every get wants
 * its put; the last put closes it and removes its file. */
struct listener *listen_get(struct listen_set *set, const struct conf_pool *pool,
	const struct address *address, struct err *err);
/* A reload that has succeeded brings a new one. */
void listen_set_backlog(const struct listener *listener, unsigned backlog);

/* Whoever shares a listener can shut it down for all. From now on that is noticed. */
void listen_guard(struct listener *listener, struct event_base *base);
bool listen_noticed(struct listener *listener);

enum listen_state {
	LISTEN_WELL,
	LISTEN_OPENED_ANEW, /* it was shut down; the descriptor has the number that it had */
	LISTEN_LOST,        /* it was shut down, and *err says why it stays so */
};
/* Looks at it, and puts right what can be. Nobody else may have an event on its descriptor. */
enum listen_state listen_mend(
	struct listener *listener, const struct conf_pool *pool, struct err *err);

/* Nobody is let in any more, and it is not found any more, if nobody else has a use for it. Where
 * that cannot be it stays open, for as few as the kernel permits. */
void listen_close(struct listener *listener);

void listen_put(struct listen_set *set, struct listener *listener);

/* For an upgrade. The set that restores is empty; its listeners have no users until they are taken.
 * A number stands for the same listener on both sides. */
void listen_save(const struct listen_set *set, struct state_out *out);
int listen_restore(struct listen_set *set, struct state_in *in, struct err *err);
unsigned listen_number(const struct listen_set *set, const struct listener *listener);
/* One user more; NULL when there is no such number. */
struct listener *listen_take(struct listen_set *set, unsigned number);

/* For -t: every address of the configuration must be free, or in use by process "ours" (0: none).
 */
void listen_check(
	struct listen_set *set, const struct conf *conf, int ours, struct err_list *errors);

/* Does that process, if there is one, listen at the address? */
bool listen_belongs(const struct address *address, int pid);

void listen_free(struct listen_set *set);

#endif
