/*
 * bind: makes one listening socket.
 *
 * A unix socket has its owner, group and mode from the moment it appears: bind(2) runs with the
 * file system identity of the owner and a matching umask, so that nothing is ever changed by path.
 * What stands at the path already is touched only if it is a socket that nobody listens on.
 */
#include "master/bind.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/fsuid.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "common/conf.h"
#include "common/err.h"
#include "common/units.h"
#include "master/filter.h"
#include "master/holder.h"
#include "master/sockets.h"

static bool is_live(const struct address *address)
{
	int fd = socket(address->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return true;
	int rc = connect(fd, (const struct sockaddr *)&address->sa, address->len);
	int reason = errno;
	close(fd);
	/* EAGAIN: its backlog is full, so somebody owns it. */
	return rc == 0 || (reason != ECONNREFUSED && reason != ENOENT);
}

static int open_directory(const struct address *address, struct bind_file *file, struct err *err)
{
	const struct sockaddr_un *un = (const struct sockaddr_un *)&address->sa;
	char dir[sizeof(un->sun_path)];
	const char *slash = strrchr(un->sun_path, '/');
	size_t length = slash == un->sun_path ? 1 : (size_t)(slash - un->sun_path);

	memcpy(dir, un->sun_path, length);
	dir[length] = '\0';
	snprintf(file->name, sizeof(file->name), "%s", slash + 1);
	file->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (file->dir < 0)
		return err_set(err, EX_CANTCREAT, "cannot open the directory of %s: %s",
			address->text, strerror(errno));
	/* Two starts must not both find the same stale socket and replace each other's. Others may
	 * hold this lock for reasons of their own, so it is waited for only briefly. */
	for (int i = 0; i < 50 && flock(file->dir, LOCK_EX | LOCK_NB) != 0; i++)
		nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
	return 0;
}

static int in_use(const struct address *address, struct err *err)
{
	char who[HOLDER_TEXT];

	return err_set(err, EX_UNAVAILABLE, "cannot listen on %s: it is in use%s%s", address->text,
		holder_find(address, who) ? " by " : "", who);
}

/* What stands at the path: 0 nothing, 1 a socket that nobody listens on, -1 anything else. */
static int find_stale(const struct address *address, const struct bind_file *file, struct err *err)
{
	struct stat st;

	if (fstatat(file->dir, file->name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT ? 0
				       : err_set(err, EX_CANTCREAT, "cannot look at %s: %s",
						 address->text, strerror(errno));
	if (!S_ISSOCK(st.st_mode))
		return err_set(err, EX_CANTCREAT,
			"cannot listen on %s: something that is no socket stands there",
			address->text);
	return is_live(address) ? in_use(address, err) : 1;
}

static int clear_stale(const struct address *address, const struct bind_file *file, struct err *err)
{
	int found = find_stale(address, file, err);

	if (found <= 0)
		return found;
	if (unlinkat(file->dir, file->name, 0) != 0)
		return err_set(err, EX_CANTCREAT, "cannot replace the stale socket %s: %s",
			address->text, strerror(errno));
	return 0;
}

/* The kernel takes CAP_DAC_OVERRIDE and its like away with setfsuid(2); we need it to reach a
 * directory that belongs to root. It comes back with setfsuid(0). */
static void keep_dac_override(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &head, data) != 0)
		return;
	data[0].effective |= data[0].permitted & (1u << CAP_DAC_OVERRIDE);
	syscall(SYS_capset, &head, data);
}

static int bind_as(int fd, const struct conf_pool *pool, const struct address *address)
{
	bool switched = geteuid() == 0;
	mode_t old_mask = umask(0777 & ~pool->listen_mode);

	if (switched) {
		setfsgid(pool->listen_gid);
		setfsuid(pool->listen_uid);
		if (pool->listen_uid != 0)
			keep_dac_override();
	}
	int rc = bind(fd, (const struct sockaddr *)&address->sa, address->len);
	int reason = errno;
	if (switched) {
		setfsuid(geteuid());
		setfsgid(getegid());
	}
	umask(old_mask);
	errno = reason;
	return rc;
}

static int bind_path(int fd, const struct conf_pool *pool, const struct address *address,
	struct bind_file *file, struct err *err)
{
	struct stat st;

	if (open_directory(address, file, err) != 0 || clear_stale(address, file, err) != 0)
		return -1;
	if (bind_as(fd, pool, address) != 0)
		return err_set(err, errno == EADDRINUSE ? EX_UNAVAILABLE : EX_CANTCREAT,
			"cannot listen on %s: %s", address->text, strerror(errno));
	if (fstatat(file->dir, file->name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISSOCK(st.st_mode))
		return err_set(err, EX_CANTCREAT,
			"cannot listen on %s: it was moved away while it was made", address->text);
	file->dev = st.st_dev;
	file->ino = st.st_ino;
	return 0;
}

static int bind_net(int fd, const struct address *address, struct err *err)
{
	int on = 1, v6only = !address->wildcard;

	if (address->kind == ADDRESS_TCP) {
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
		if (address->sa.ss_family == AF_INET6)
			setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof(v6only));
	}
	if (bind(fd, (const struct sockaddr *)&address->sa, address->len) == 0)
		return 0;
	if (errno == EADDRINUSE)
		return in_use(address, err);
	return err_set(err, errno == EACCES ? EX_NOPERM : EX_CANTCREAT, "cannot listen on %s: %s",
		address->text, strerror(errno));
}

/* "*:PORT" without IPv6 in the kernel is every IPv4 address. */
static int open_socket(struct address *address)
{
	int fd = socket(address->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 || errno != EAFNOSUPPORT || !address->wildcard)
		return fd;
	struct sockaddr_in v4 = { .sin_family = AF_INET,
		.sin_port = ((const struct sockaddr_in6 *)&address->sa)->sin6_port };
	memcpy(&address->sa, &v4, sizeof(v4));
	address->len = sizeof(v4);
	return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

int bind_set_blocking(int fd, const struct conf_pool *pool)
{
	int flags = fcntl(fd, F_GETFL);

	return fcntl(
		fd, F_SETFL, pool->kind == CONF_COMMAND ? flags & ~O_NONBLOCK : flags | O_NONBLOCK);
}

bool bind_is_set(int fd, const struct conf_pool *pool)
{
	return ((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0) == (pool->kind != CONF_COMMAND);
}

bool bind_is_alive(int fd)
{
	struct pollfd state = { .fd = fd, .events = POLLIN };

	return sockets_is_listening(fd) && poll(&state, 1, 0) >= 0 &&
	       (state.revents & (POLLHUP | POLLERR)) == 0;
}

int bind_dress(int fd, const struct conf_pool *pool, const struct address *address, struct err *err)
{
	bool tcp = address->sa.ss_family == AF_INET || address->sa.ss_family == AF_INET6;

	if (tcp && pool->allow_count > 0 && filter_attach(fd, pool->allow, pool->allow_count) != 0)
		return err_set(err, errno == EPERM ? EX_NOPERM : EX_OSERR,
			"cannot enforce allow on %s: %s", address->text,
			errno == EPERM
				? "the kernel wants CAP_NET_ADMIN for it, or the socket that "
				  "was handed in has another list"
				: strerror(errno));
	/* Accepted connections inherit it: the end of an answer does not wait for an
	 * acknowledgement. */
	if (tcp)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
	if (bind_set_blocking(fd, pool) == 0 && listen(fd, (int)pool->backlog) == 0)
		return 0;
	if (errno == EADDRINUSE)
		return in_use(address, err);
	return err_set(err, EX_OSERR, "cannot listen on %s: %s", address->text, strerror(errno));
}

int bind_open(const struct conf_pool *pool, const struct address *wanted, struct bind_file *file,
	struct err *err)
{
	struct address address = *wanted;
	int fd = open_socket(&address);

	file->dir = -1;
	file->ino = 0;
	if (fd < 0)
		return err_set(err, EX_OSERR, "cannot make a socket for %s: %s", address.text,
			strerror(errno));
	int rc = address.kind == ADDRESS_UNIX ? bind_path(fd, pool, &address, file, err)
					      : bind_net(fd, &address, err);
	if (rc == 0)
		rc = bind_dress(fd, pool, &address, err);
	if (rc == 0 && address.kind == ADDRESS_TCP) /* nobody puts a packet filter on it any more */
		setsockopt(fd, SOL_SOCKET, SO_LOCK_FILTER, &(int){ 1 }, sizeof(int));
	if (file->dir >= 0)
		flock(file->dir, LOCK_UN);
	if (rc == 0)
		return fd;
	bind_remove(file);
	close(fd);
	return -1;
}

void bind_remove(struct bind_file *file)
{
	struct stat st;

	if (file->dir < 0)
		return;
	if (file->ino != 0 && fstatat(file->dir, file->name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		st.st_dev == file->dev && st.st_ino == file->ino)
		unlinkat(file->dir, file->name, 0);
	close(file->dir);
	file->dir = -1;
}

/* Bound to an interface that does not exist a socket of TCP gets no new connections; it still
 * listens, and nobody who waits in accept(2) is woken. */
bool bind_close(int fd, struct bind_file *file)
{
	int domain = 0, nowhere = INT_MAX;
	socklen_t size = sizeof(domain);

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0)
		return false;
	if (domain != AF_UNIX)
		return setsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &nowhere, sizeof(nowhere)) == 0;
	if (file->dir < 0)
		return shutdown(fd, SHUT_RD) == 0;
	bind_remove(file);
	return true;
}

static int check_path(const struct address *address, struct err *err)
{
	struct bind_file file = { .dir = -1 };
	int rc = open_directory(address, &file, err);

	if (rc == 0 && find_stale(address, &file, err) < 0)
		rc = -1;
	if (rc == 0 && faccessat(file.dir, ".", W_OK | X_OK, AT_EACCESS) != 0)
		rc = err_set(err, EX_CANTCREAT, "cannot listen on %s: %s", address->text,
			strerror(errno));
	if (file.dir >= 0)
		close(file.dir);
	return rc;
}

int bind_check(const struct address *wanted, struct err *err)
{
	struct address address = *wanted;

	if (address.kind == ADDRESS_UNIX)
		return check_path(&address, err);
	int fd = open_socket(&address);
	if (fd < 0)
		return err_set(err, EX_OSERR, "cannot make a socket for %s: %s", address.text,
			strerror(errno));
	int rc = bind_net(fd, &address, err);
	if (rc == 0 && listen(fd, 1) != 0)
		rc = errno == EADDRINUSE ? in_use(&address, err)
					 : err_set(err, EX_UNAVAILABLE, "cannot listen on %s: %s",
						   address.text, strerror(errno));
	close(fd);
	return rc;
}
