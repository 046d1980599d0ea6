/*
 * grip: compares the sockets of a process with the listener of its pool.
 */
#include "master/grip.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/clock.h"
#include "master/look.h"
#include "master/sockdiag.h"
#include "master/sockets.h"

#define VIEWS 16     /* TCP ports whose connections are listed at a time */
#define VIEW_GOOD 20 /* times as long as it took to make the list, it is used */

void grip_init(struct grip_listener *l, int listener)
{
	struct stat st;

	*l = (struct grip_listener){ .length = sizeof(l->name) };
	if (fstat(listener, &st) == 0 &&
		getsockname(listener, (struct sockaddr *)&l->name, &l->length) == 0)
		l->inode = st.st_ino;
	else
		l->length = 0;
}

static in_port_t port_of(const struct sockaddr_storage *a)
{
	return a->ss_family == AF_INET ? ((const struct sockaddr_in *)a)->sin_port
				       : ((const struct sockaddr_in6 *)a)->sin6_port;
}

static bool same_name(
	const struct grip_listener *l, const struct sockaddr_storage *name, socklen_t length)
{
	const struct sockaddr_un *ours = (const struct sockaddr_un *)&l->name;
	const struct sockaddr_un *other = (const struct sockaddr_un *)name;

	if (l->name.ss_family == AF_UNIX || name->ss_family == AF_UNIX)
		return l->name.ss_family == name->ss_family && length == l->length &&
		       memcmp(ours, other, length) == 0;
	/* The listener may have been at every address; the port is its own. */
	return (name->ss_family == AF_INET || name->ss_family == AF_INET6) &&
	       port_of(name) == port_of(&l->name);
}

/* What accept returns has the name of the listener, and a peer. */
static bool is_accepted(int fd, const void *arg)
{
	struct sockaddr_storage name = { 0 }, peer;
	socklen_t length = sizeof(name), peer_length = sizeof(peer);

	return getsockname(fd, (struct sockaddr *)&name, &length) == 0 &&
	       same_name(arg, &name, length) &&
	       getpeername(fd, (struct sockaddr *)&peer, &peer_length) == 0;
}

/* For a unix socket a last resort: its other end is in another network namespace, or the kernel was
 * built without sock_diag. */
static bool is_duplicate_accepted(const struct socket_seen *socket, const struct grip_listener *l)
{
	int fd = sockets_duplicate(socket);
	bool accepted = fd >= 0 && is_accepted(fd, l);
	struct linger linger = { 0 };
	socklen_t size = sizeof(linger);

	/* The process may have closed it meanwhile: then our close would be the one that waits. */
	if (fd >= 0 && getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &size) == 0 &&
		linger.l_onoff != 0 && linger.l_linger > 0) {
		linger.l_onoff = 0;
		(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	}
	if (fd >= 0)
		close(fd);
	return accepted;
}

static bool is_unix_grip(const struct socket_seen *socket, const struct grip_listener *l)
{
	struct sockdiag_unix seen;
	struct sockaddr_storage name = { 0 };

	/* Unknown to the kernel as well if the process has just closed it: the number may already
	 * be that of another connection, and a duplicate of that would do harm. */
	if (sockdiag_unix(socket->inode, &seen) != 1)
		return sockets_is_still(socket) && is_duplicate_accepted(socket, l);
	memcpy(&name, &seen.name, sizeof(seen.name));
	return seen.connected && same_name(l, &name, seen.length);
}

/* A TCP socket cannot be asked for by its inode number, only listed with all of its port, which
 * takes the kernel longer the more sockets the machine has: the list is used again for a while. */
struct view {
	uint64_t listed_at, good_until;
	struct sockdiag_tcp tcp;
	int family;
	in_port_t port;
	bool blind; /* the kernel does not tell us of this listener */
};

static bool knows_listener(const struct view *view, const struct grip_listener *l)
{
	for (size_t i = 0; i < view->tcp.listener_count; i++)
		if (view->tcp.listeners[i] == l->inode)
			return true;
	return false;
}

static const struct view *view_of(const struct grip_listener *l)
{
	static struct view views[VIEWS];
	in_port_t port = port_of(&l->name);
	struct view *view = &views[0];
	uint64_t began = clock_ms();

	for (size_t i = 0; i < VIEWS; i++) {
		bool same = views[i].port == port && views[i].family == l->name.ss_family;

		if (same && began < views[i].good_until)
			return &views[i];
		if (same || views[i].listed_at < view->listed_at)
			view = &views[i];
		if (same)
			break;
	}
	sockdiag_tcp_free(&view->tcp);
	view->port = port;
	view->family = l->name.ss_family;
	bool listed = sockdiag_tcp(view->family, port, &view->tcp) == 0;
	/* One that was handed in may be of another network namespace. */
	view->blind = !listed || !knows_listener(view, l);
	view->listed_at = clock_ms();
	view->good_until = view->listed_at + VIEW_GOOD * (view->listed_at - began + 1);
	return view;
}

static int find_number(const void *key, const void *member)
{
	ino_t left = *(const ino_t *)key, right = *(const ino_t *)member;

	return (left > right) - (left < right);
}

/* While a duplicate is there, closing does not take a socket out of an epoll set. Whoever does not
 * use epoll is not harmed by one. */
static bool is_tcp_grip(const struct socket_seen *socket, const struct grip_listener *l)
{
	if (!look_has_epoll(socket->pid))
		return is_duplicate_accepted(socket, l);
	const struct view *view = view_of(l);
	if (view->blind)
		return is_duplicate_accepted(socket, l);
	return view->tcp.count > 0 && bsearch(&socket->inode, view->tcp.connections,
					      view->tcp.count, sizeof(ino_t), find_number) != NULL;
}

struct search {
	const struct grip_listener *listener;
	struct grip *out;
};

static bool is_grip(const struct socket_seen *socket, void *arg)
{
	const struct search *search = arg;
	const struct grip_listener *l = search->listener;

	if (l->length == 0 || socket->inode == l->inode)
		return false;
	if (l->name.ss_family == AF_UNIX ? !socket->is_unix || !is_unix_grip(socket, l)
					 : !socket->is_tcp || !is_tcp_grip(socket, l))
		return false;
	*search->out = (struct grip){ .holds = true, .connection = socket->inode };
	return true;
}

static bool looks_held(pid_t pid, const struct grip_listener *l, struct grip *out)
{
	struct search search = { .listener = l, .out = out };

	return sockets_find_seen(pid, is_grip, &search) > 0;
}

void grip_look(pid_t worker, const struct grip_listener *l, struct grip *out)
{
	pid_t group[LOOK_GROUP_MAX];
	size_t count = look_group(worker, group);

	*out = (struct grip){ 0 };
	for (size_t i = 0; i < count && !out->holds; i++)
		if (looks_held(group[i], l, out))
			out->reads = look_reads_from(group[i]) == out->connection;
}

bool grip_seen(pid_t worker, const struct grip_listener *l)
{
	struct grip grip;

	grip_look(worker, l, &grip);
	return grip.holds;
}

bool grip_holds(pid_t pid, const struct grip_listener *l)
{
	struct grip grip;

	if (look_is_stopped(pid))
		return sockets_find(pid, is_accepted, l) > 0;
	return looks_held(pid, l, &grip);
}

static bool is_listener(const struct socket_seen *socket, void *arg)
{
	return socket->inode == *(const ino_t *)arg;
}

bool grip_listens(pid_t pid, const struct grip_listener *l)
{
	ino_t inode = l->inode;

	return inode != 0 && sockets_find_seen(pid, is_listener, &inode) > 0;
}
