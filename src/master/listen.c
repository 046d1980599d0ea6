/*
 * listen: keeps the listeners, by address, and counts who uses them.
 */
#include "master/listen.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/conf.h"
#include "common/err.h"
#include "common/log.h"
#include "common/units.h"
#include "master/bind.h"
#include "master/sockets.h"
#include "master/state.h"

#define LISTEN_FDS_START 3 /* sd_listen_fds(3) */

struct entry {
	struct listener listener; /* first: a struct listener is its entry */
	struct address address;
	struct bind_file file;
	unsigned users;
	bool adopted;
	char *name; /* of an adopted one, from LISTEN_FDNAMES */
	bool dressed;
	bool dead; /* shut down by somebody, or closed: no longer found */
	enum conf_kind kind;
	int guard; /* epoll(7) that is readable when it was shut down; -1: nobody asked for it */
	struct event *guard_event;
	bool noticed; /* that it was */
	struct entry *next;
};

static const struct state_row rows[] = {
	STATE_ROW(FD, struct entry, listener.fd, 0),
	STATE_ROW(TEXT, struct entry, address.text, 0),
	STATE_ROW(NUMBER, struct entry, listener.high, UINT_MAX),
	STATE_ROW(FD, struct entry, file.dir, 0),
	STATE_ROW(TEXT, struct entry, file.name, 0),
	STATE_ROW(NUMBER, struct entry, file.dev, UINT64_MAX),
	STATE_ROW(NUMBER, struct entry, file.ino, UINT64_MAX),
	STATE_ROW(NUMBER, struct entry, adopted, 1),
	STATE_ROW(STRING, struct entry, name, 0),
	STATE_ROW(NUMBER, struct entry, dressed, 1),
	STATE_ROW(NUMBER, struct entry, dead, 1),
	STATE_ROW(NUMBER, struct entry, kind, CONF_COMMAND),
	STATE_END,
};

struct listen_set {
	struct entry *first;
};

struct listen_set *listen_new(void)
{
	return calloc(1, sizeof(struct listen_set));
}

static struct entry *new_entry(struct listen_set *set, int fd)
{
	struct entry *entry = calloc(1, sizeof(*entry));

	if (entry == NULL)
		return NULL;
	entry->listener.fd = fd;
	entry->listener.text = entry->address.text;
	entry->file.dir = -1;
	entry->guard = -1;
	entry->next = set->first;
	set->first = entry;
	return entry;
}

static void drop_guard(struct entry *entry)
{
	if (entry->guard_event != NULL)
		event_free(entry->guard_event);
	if (entry->guard >= 0)
		close(entry->guard);
	entry->guard_event = NULL;
	entry->guard = -1;
	entry->noticed = false;
}

static void free_entry(struct listen_set *set, struct entry *entry)
{
	struct entry **at = &set->first;

	while (*at != entry)
		at = &(*at)->next;
	*at = entry->next;
	drop_guard(entry);
	bind_remove(&entry->file);
	close(entry->listener.fd);
	free(entry->name);
	free(entry);
}

int listen_adopt(struct listen_set *set, struct err *err)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
	const char *list = getenv("LISTEN_FDNAMES");
	char *names = strdup(list != NULL ? list : ""), *rest = names;
	uint64_t count = 0, owner = 0;
	int rc = 0;

	if (pid != NULL && fds != NULL && units_number(pid, 1, INT32_MAX, &owner, NULL) == 0 &&
		owner == (uint64_t)getpid() && units_number(fds, 0, 1024, &count, NULL) != 0)
		rc = err_set(err, EX_USAGE, "LISTEN_FDS is not a number from 0 to 1024");
	for (uint64_t i = 0; i < count && rc == 0; i++) {
		int fd = LISTEN_FDS_START + (int)i;
		char *name = strsep(&rest, ":");
		struct entry *entry;

		if (!sockets_is_listening(fd)) {
			rc = err_set(err, EX_USAGE,
				"descriptor %d of LISTEN_FDS is not a listening stream socket", fd);
			break;
		}
		fcntl(fd, F_SETFD, FD_CLOEXEC);
		if ((entry = new_entry(set, fd)) == NULL) {
			rc = err_set(err, EX_OSERR, "out of memory");
			break;
		}
		entry->adopted = true;
		entry->name = strdup(name != NULL ? name : "");
		entry->address.len = sizeof(entry->address.sa);
		getsockname(fd, (struct sockaddr *)&entry->address.sa, &entry->address.len);
		snprintf(entry->address.text, sizeof(entry->address.text), "fd:%.100s",
			name ? name : "");
	}
	/* Whatever else we have inherited is not ours: its owner may wait for it to be closed. */
	if (rc == 0)
		close_range(LISTEN_FDS_START + (unsigned)count, ~0u, 0);
	free(names);
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	return rc;
}

void listen_drop_unused(struct listen_set *set)
{
	for (struct entry *e = set->first, *next; e != NULL; e = next) {
		next = e->next;
		if (e->users > 0)
			continue;
		log_warning("no pool listens on descriptor %d that was handed in (%s), closed",
			e->listener.fd, e->address.text);
		free_entry(set, e);
	}
}

static bool same_name(const struct address *a, const struct address *b)
{
	const struct sockaddr_un *x = (const struct sockaddr_un *)&a->sa;
	const struct sockaddr_un *y = (const struct sockaddr_un *)&b->sa;

	if (a->sa.ss_family != b->sa.ss_family)
		return false;
	if (a->sa.ss_family == AF_UNIX && x->sun_path[0] != '\0') /* the length may count the NUL */
		return strncmp(x->sun_path, y->sun_path, sizeof(x->sun_path)) == 0;
	return a->len == b->len && memcmp(&a->sa, &b->sa, a->len) == 0;
}

static bool same_address(const struct entry *entry, const struct address *wanted)
{
	if (entry->adopted && wanted->kind == ADDRESS_FD)
		return entry->name != NULL &&
		       strcmp(entry->name, wanted->text + strlen("fd:")) == 0;
	if (wanted->kind == ADDRESS_FD)
		return false;
	if (!entry->adopted)
		return strcmp(entry->address.text, wanted->text) == 0;
	return same_name(&entry->address, wanted);
}

static struct entry *find(struct listen_set *set, const struct address *wanted)
{
	for (struct entry *e = set->first; e != NULL; e = e->next)
		if (!e->dead && same_address(e, wanted))
			return e;
	return NULL;
}

static struct listener *reuse(struct entry *entry, const struct conf_pool *pool, struct err *err)
{
	bool command = pool->kind == CONF_COMMAND;

	if (entry->dressed && command != (entry->kind == CONF_COMMAND)) {
		/* One socket cannot be blocking for the new workers and not for the old ones. */
		err_set(err, EX_CONFIG,
			"%s changes between a command and an application inside preforkd: that "
			"needs a "
			"restart",
			entry->address.text);
		return NULL;
	}
	if (!entry->dressed && bind_dress(entry->listener.fd, pool, &entry->address, err) != 0)
		return NULL;
	entry->dressed = true;
	entry->kind = pool->kind;
	entry->users++;
	return &entry->listener;
}

struct listener *listen_get(struct listen_set *set, const struct conf_pool *pool,
	const struct address *address, struct err *err)
{
	struct entry *entry = find(set, address);
	struct bind_file file;

	/* So late that nobody has mended it yet. */
	if (entry != NULL && entry->users > 0 && !bind_is_alive(entry->listener.fd)) {
		log_err("%s was shut down by one of its workers, opened anew", address->text);
		bind_remove(&entry->file);
		entry->dead = true; /* closed with the last who uses it */
		entry = NULL;
	}
	if (entry != NULL)
		return reuse(entry, pool, err);
	if (address->kind == ADDRESS_FD) {
		err_set(err, EX_UNAVAILABLE,
			"no socket named \"%s\" was handed in through LISTEN_FDS",
			address->text + strlen("fd:"));
		return NULL;
	}
	int fd = bind_open(pool, address, &file, err);
	if (fd < 0)
		return NULL;
	entry = new_entry(set, fd);
	if (entry == NULL) {
		bind_remove(&file);
		close(fd);
		err_set(err, EX_OSERR, "out of memory");
		return NULL;
	}
	entry->address = *address;
	entry->file = file;
	entry->dressed = true;
	entry->kind = pool->kind;
	entry->users = 1;
	return &entry->listener;
}

void listen_set_backlog(const struct listener *listener, unsigned backlog)
{
	listen(listener->fd, (int)backlog); /* on a listening socket it changes nothing else */
}

static void on_shut_down(int fd, short what, void *arg)
{
	struct entry *entry = arg;

	(void)fd, (void)what;
	entry->noticed = true;
}

/* libevent has no word for a socket of TCP that is neither readable nor writable, but dead. New
 * connections are no event here: they cost the master nothing. */
void listen_guard(struct listener *listener, struct event_base *base)
{
	struct entry *entry = (struct entry *)listener;
	struct epoll_event dead = { .events = EPOLLRDHUP };

	if (entry->guard >= 0)
		return;
	entry->guard = epoll_create1(EPOLL_CLOEXEC);
	if (entry->guard < 0 || epoll_ctl(entry->guard, EPOLL_CTL_ADD, listener->fd, &dead) != 0)
		return;
	/* Once: until it is mended it would be news all the time. */
	entry->guard_event = event_new(base, entry->guard, EV_READ, on_shut_down, entry);
	if (entry->guard_event != NULL)
		event_add(entry->guard_event, NULL);
}

bool listen_noticed(struct listener *listener)
{
	struct entry *entry = (struct entry *)listener;
	bool noticed = entry->noticed;

	entry->noticed = false;
	return noticed;
}

static int open_anew(struct entry *entry, const struct conf_pool *pool, struct err *err)
{
	if (entry->adopted)
		return err_set(err, EX_UNAVAILABLE,
			"it was handed in, and whoever did that has to open it again");
	bind_remove(&entry->file);
	int fd = bind_open(pool, &entry->address, &entry->file, err);
	if (fd < 0)
		return -1;
	int rc = dup3(fd, entry->listener.fd, O_CLOEXEC);
	close(fd);
	return rc < 0 ? err_set(err, EX_OSERR, "%s", strerror(errno)) : 0;
}

enum listen_state listen_mend(
	struct listener *listener, const struct conf_pool *pool, struct err *err)
{
	struct entry *entry = (struct entry *)listener;

	if (bind_is_alive(listener->fd))
		return LISTEN_WELL;
	drop_guard(entry);
	/* One of TCP listens again. */
	listen_set_backlog(listener, pool->backlog);
	if (!bind_is_alive(listener->fd) && open_anew(entry, pool, err) != 0)
		return LISTEN_LOST;
	return LISTEN_OPENED_ANEW;
}

/* Whoever waits in accept(2) is woken by the end of an abstract unix socket, with an error.
 * Programs do not expect that: some print a trace, and a parent starts its children again and
 * again. */
static bool may_close(const struct entry *entry)
{
	return entry->address.kind != ADDRESS_ABSTRACT || entry->kind != CONF_COMMAND;
}

void listen_close(struct listener *listener)
{
	struct entry *entry = (struct entry *)listener;

	if (entry->users > 1) {
		listener->door = LISTEN_SHARED;
	} else if (entry->adopted) {
		listener->door = LISTEN_LENT;
	} else if (may_close(entry) && bind_close(listener->fd, &entry->file)) {
		listener->door = LISTEN_CLOSED;
		entry->dead = true;
	} else {
		listener->door = LISTEN_OPEN;
		listen_set_backlog(listener, 0);
	}
}

void listen_put(struct listen_set *set, struct listener *listener)
{
	struct entry *entry = (struct entry *)listener;

	if (--entry->users == 0)
		free_entry(set, entry);
}

void listen_free(struct listen_set *set)
{
	while (set->first != NULL)
		free_entry(set, set->first);
	free(set);
}

void listen_save(const struct listen_set *set, struct state_out *out)
{
	for (const struct entry *e = set->first; e != NULL; e = e->next)
		state_put(out, "listener", rows, e);
}

static int restore_entry(struct entry *e, struct err *err)
{
	struct address parsed;

	if (!sockets_is_listening(e->listener.fd) && !e->dead)
		return err_set(err, EX_SOFTWARE, "descriptor %d of the state does not listen",
			e->listener.fd);
	if (e->adopted) {
		e->address.len = sizeof(e->address.sa);
		getsockname(e->listener.fd, (struct sockaddr *)&e->address.sa, &e->address.len);
		return 0;
	}
	if (units_address(e->address.text, &parsed, err) != 0)
		return -1;
	e->address = parsed;
	return 0;
}

int listen_restore(struct listen_set *set, struct state_in *in, struct err *err)
{
	struct entry **last = &set->first;

	while (state_has(in, "listener")) {
		struct entry *e = calloc(1, sizeof(*e));

		if (e == NULL)
			return err_set(err, EX_OSERR, "out of memory");
		*last = e;
		last = &e->next;
		e->listener.fd = -1;
		e->listener.text = e->address.text;
		e->file.dir = -1;
		if (state_take(in, "listener", rows, e, err) != 0 || restore_entry(e, err) != 0)
			return -1;
	}
	return 0;
}

unsigned listen_number(const struct listen_set *set, const struct listener *listener)
{
	unsigned number = 0;

	for (const struct entry *e = set->first; e != NULL && &e->listener != listener; e = e->next)
		number++;
	return number;
}

struct listener *listen_take(struct listen_set *set, unsigned number)
{
	struct entry *e = set->first;

	while (e != NULL && number-- > 0)
		e = e->next;
	if (e == NULL)
		return NULL;
	e->users++;
	return &e->listener;
}

static bool listens_at(int fd, const void *arg)
{
	struct address other = { .len = sizeof(other.sa) };

	return sockets_is_listening(fd) &&
	       getsockname(fd, (struct sockaddr *)&other.sa, &other.len) == 0 &&
	       same_name(&other, arg);
}

bool listen_belongs(const struct address *address, int pid)
{
	return pid > 0 && sockets_find(pid, listens_at, address) > 0;
}

void listen_check(
	struct listen_set *set, const struct conf *conf, int ours, struct err_list *errors)
{
	char where[300];
	struct err err;

	for (size_t p = 0; p < conf->pool_count; p++) {
		const struct conf_pool *pool = conf->pools[p];

		conf_where(pool, "listen", where, sizeof(where));
		for (size_t i = 0; i < pool->listen_count; i++) {
			const struct address *a = &pool->listen[i];

			if (find(set, a) != NULL)
				continue;
			if (a->kind == ADDRESS_FD)
				continue; /* handed in at the start, not now */
			if (bind_check(a, &err) != 0 && !listen_belongs(a, ours))
				err_list_add(errors, err.code, "%s: listen: %s", where, err.text);
		}
	}
}
