/*
 * sockets: duplicates them one at a time; nothing of the other process changes.
 */
#include "master/sockets.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

bool sockets_is_listening(int fd)
{
	int type = 0, listening = 0;
	socklen_t size = sizeof(int);

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM &&
	       getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) == 0 && listening;
}

/* Only sockets are duplicated: nothing else of the process is worth the call. -1: we may not look.
 */
static int is_socket(int dir, const char *name)
{
	static const char kind[] = "socket:";
	char target[sizeof(kind)];

	if (name[0] == '.')
		return 0;
	ssize_t n = readlinkat(dir, name, target, sizeof(target));
	if (n < 0)
		return errno == EACCES || errno == EPERM ? -1 : 0;
	return n == (ssize_t)sizeof(target) && memcmp(target, kind, sizeof(kind) - 1) == 0;
}

static int search(DIR *dir, int pidfd, bool (*match)(int fd, const void *arg), const void *arg)
{
	bool found = false;

	for (struct dirent *d; !found && (d = readdir(dir)) != NULL;) {
		int wanted = is_socket(dirfd(dir), d->d_name);

		if (wanted < 0)
			return -1;
		if (wanted == 0)
			continue;
		int fd = (int)syscall(SYS_pidfd_getfd, pidfd, atoi(d->d_name), 0);
		if (fd < 0 && errno == EPERM)
			return -1;
		if (fd < 0)
			continue;
		found = match(fd, arg);
		close(fd);
	}
	return found;
}

int sockets_find(pid_t pid, bool (*match)(int fd, const void *arg), const void *arg)
{
	char path[64];
	int rc = -1, pidfd = (int)syscall(SYS_pidfd_open, pid, 0);

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	DIR *dir = pidfd < 0 ? NULL : opendir(path);
	if (dir != NULL)
		rc = search(dir, pidfd, match, arg);
	int reason = errno;
	if (dir != NULL)
		closedir(dir);
	if (pidfd >= 0)
		close(pidfd);
	errno = reason;
	return rc;
}
