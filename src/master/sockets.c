/*
 * sockets: duplicates them one at a time, or reads what /proc says of them; nothing of the other
 * process changes.
 */
#include "master/sockets.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#define SEEN_MAX                                                                        \
	8192 /* descriptors of one process: a hostile one must not keep the master busy \
	      */

bool sockets_is_listening(int fd)
{
	int type = 0, listening = 0;
	socklen_t size = sizeof(int);

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM &&
	       getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) == 0 && listening;
}

static int duplicate(pid_t pid, int fd)
{
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);

	if (pidfd < 0)
		return -1;
	int copy = (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
	int reason = errno;
	close(pidfd);
	errno = reason;
	return copy;
}

/* Permission is asked before the number is looked at, which is no descriptor. */
bool sockets_permitted(pid_t pid)
{
	int fd = duplicate(pid, INT_MAX);

	if (fd >= 0)
		close(fd);
	return fd >= 0 || errno == EBADF;
}

int sockets_duplicate(const struct socket_seen *socket)
{
	return duplicate(socket->pid, socket->fd);
}

/* "socket:[NUMBER]". 1: it is one; 0: it is none; -1 and errno: we may not look. */
static int read_link(int dir, const char *name, struct socket_seen *out)
{
	static const char kind[] = "socket:[";
	char target[64];

	if (name[0] == '.')
		return 0;
	ssize_t n = readlinkat(dir, name, target, sizeof(target) - 1);
	if (n < 0)
		return errno == EACCES || errno == EPERM ? -1 : 0;
	target[n] = '\0';
	if (strncmp(target, kind, sizeof(kind) - 1) != 0)
		return 0;
	out->fd = atoi(name);
	out->inode = (ino_t)strtoull(target + sizeof(kind) - 1, NULL, 10);
	return 1;
}

/* The kernel's name of the protocol: "UNIX-STREAM", "TCP", "TCPv6", ... */
static void read_protocol(struct socket_seen *s)
{
	char path[64], name[64] = "";

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)s->pid, s->fd);
	ssize_t n = getxattr(path, "system.sockprotoname", name, sizeof(name) - 1);
	name[n > 0 ? n : 0] = '\0';
	s->is_unix = strncmp(name, "UNIX", 4) == 0;
	s->is_tcp = strncmp(name, "TCP", 3) == 0;
}

bool sockets_is_still(const struct socket_seen *socket)
{
	struct socket_seen again;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)socket->pid, socket->fd);
	return read_link(AT_FDCWD, path, &again) == 1 && again.inode == socket->inode;
}

static DIR *open_descriptors(pid_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	return opendir(path);
}

static int close_descriptors(DIR *dir, int rc)
{
	int reason = errno;

	closedir(dir);
	errno = reason;
	return rc;
}

int sockets_find_seen(
	pid_t pid, bool (*match)(const struct socket_seen *socket, void *arg), void *arg)
{
	struct socket_seen socket = { .pid = pid };
	DIR *dir = open_descriptors(pid);
	int rc = 0;

	if (dir == NULL)
		return -1;
	unsigned seen = 0;
	for (struct dirent *d; rc == 0 && seen < SEEN_MAX && (d = readdir(dir)) != NULL; seen++) {
		rc = read_link(dirfd(dir), d->d_name, &socket);
		if (rc <= 0)
			continue;
		read_protocol(&socket);
		rc = match(&socket, arg);
	}
	return close_descriptors(dir, rc);
}

int sockets_find(pid_t pid, bool (*match)(int fd, const void *arg), const void *arg)
{
	struct socket_seen socket = { .pid = pid };
	DIR *dir = open_descriptors(pid);
	int rc = 0;

	if (dir == NULL)
		return -1;
	unsigned seen = 0;
	for (struct dirent *d; rc == 0 && seen < SEEN_MAX && (d = readdir(dir)) != NULL; seen++) {
		rc = read_link(dirfd(dir), d->d_name, &socket);
		if (rc <= 0)
			continue;
		int fd = sockets_duplicate(&socket);
		rc = fd >= 0 ? match(fd, arg) : errno == EPERM ? -1 : 0;
		if (fd >= 0)
			close(fd);
	}
	return close_descriptors(dir, rc == 0 && seen >= SEEN_MAX ? 1 : rc);
}
