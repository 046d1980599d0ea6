/*
 * holder: from the address to the inode number of its socket (/proc/net), from that to a process
 * (/proc/PID/fd). All that is read there may be chosen by others: numbers are numbers, names are
 * escaped, and the search has a limit.
 */
#include "master/holder.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/log.h"
#include "common/units.h"

#define LOOKS_MAX 200000 /* descriptors; a tenth of a second or so */
#define TCP_LISTENS 0x0a
#define UNIX_LISTENS 0x10000 /* __SO_ACCEPTCON, include/linux/net.h of the kernel */

/* "  0: 0100007F:2328 00000000:0000 0A ... UID TIMEOUT INODE ..." */
static unsigned long match_tcp(const char *line, const struct address *a)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)&a->sa;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&a->sa;
	unsigned wanted = ntohs(a->sa.ss_family == AF_INET ? v4->sin_port : v6->sin6_port);
	unsigned port = 0, state = 0;
	unsigned long inode = 0;

	if (sscanf(line, "%*u: %*32[0-9A-Fa-f]:%x %*s %x %*s %*s %*s %*u %*u %lu", &port, &state,
		    &inode) != 3)
		return 0;
	return port == wanted && state == TCP_LISTENS ? inode : 0;
}

/* "NUM: REFS PROTOCOL FLAGS TYPE STATE INODE PATH" */
static unsigned long match_unix(const char *line, const struct address *a)
{
	const struct sockaddr_un *un = (const struct sockaddr_un *)&a->sa;
	char name[sizeof(un->sun_path) + 1] = "";
	unsigned flags = 0;
	unsigned long inode = 0;
	int path = 0;

	if (sscanf(line, "%*s %*s %*s %x %*s %*s %lu %n", &flags, &inode, &path) != 2 || path == 0)
		return 0;
	memcpy(name, un->sun_path, sizeof(un->sun_path));
	if (name[0] == '\0')
		name[0] = '@';
	size_t length = strcspn(line + path, "\n");
	return (flags & UNIX_LISTENS) != 0 && strlen(name) == length &&
			       memcmp(name, line + path, length) == 0
		       ? inode
		       : 0;
}

static unsigned long find_inode(const char *file, const struct address *a)
{
	FILE *f = fopen(file, "re");
	char line[512];
	unsigned long inode = 0;

	while (f != NULL && inode == 0 && fgets(line, sizeof(line), f) != NULL)
		inode = a->sa.ss_family == AF_UNIX ? match_unix(line, a) : match_tcp(line, a);
	if (f != NULL)
		fclose(f);
	return inode;
}

static bool has_socket(const char *pid, const char *wanted, unsigned *looks)
{
	char path[64], target[64];
	bool found = false;

	snprintf(path, sizeof(path), "/proc/%.20s/fd", pid);
	DIR *dir = opendir(path);
	for (struct dirent *d; dir != NULL && !found && (d = readdir(dir)) != NULL;) {
		if (d->d_name[0] == '.' || ++*looks > LOOKS_MAX)
			continue;
		ssize_t n = readlinkat(dirfd(dir), d->d_name, target, sizeof(target) - 1);
		if (n > 0)
			target[n] = '\0';
		found = n > 0 && strcmp(target, wanted) == 0;
	}
	if (dir != NULL)
		closedir(dir);
	return found;
}

static void describe(const char *pid, char out[HOLDER_TEXT])
{
	char path[64], name[32] = "", safe[sizeof(name) * 4 + 1];

	snprintf(path, sizeof(path), "/proc/%.20s/comm", pid);
	FILE *f = fopen(path, "re");
	if (f != NULL && fgets(name, sizeof(name), f) == NULL)
		name[0] = '\0';
	if (f != NULL)
		fclose(f);
	log_escape(name, strcspn(name, "\n"), safe, sizeof(safe));
	snprintf(out, HOLDER_TEXT, "process %.20s (%.64s)", pid, safe);
}

bool holder_find(const struct address *a, char out[HOLDER_TEXT])
{
	unsigned long inode = 0;
	char wanted[64];
	unsigned looks = 0;
	bool found = false;

	out[0] = '\0';
	if (a->sa.ss_family == AF_UNIX)
		inode = find_inode("/proc/net/unix", a);
	else if ((inode = find_inode("/proc/net/tcp", a)) == 0)
		inode = find_inode("/proc/net/tcp6", a);
	if (inode == 0)
		return false;
	snprintf(wanted, sizeof(wanted), "socket:[%lu]", inode);
	DIR *dir = opendir("/proc");
	for (struct dirent *d; dir != NULL && !found && (d = readdir(dir)) != NULL;) {
		found = atoi(d->d_name) > 0 && has_socket(d->d_name, wanted, &looks);
		if (found)
			describe(d->d_name, out);
	}
	if (dir != NULL)
		closedir(dir);
	return found;
}
