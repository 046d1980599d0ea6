/*
 * look: reads /proc/PID/syscall, and where that is not permitted /proc/PID/stat.
 */
#include "master/look.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CHILDREN_MAX 64
#define CHILDREN_TEXT 4096 /* of the file; more children than fit are passed over */

static int read_proc(pid_t pid, const char *name, char *out, size_t size)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	ssize_t n = read(fd, out, size - 1);
	close(fd);
	if (n <= 0)
		return -1;
	out[n] = '\0';
	return 0;
}

/* The state letter stands behind the last parenthesis: the name in front may hold anything. */
static char state_of(pid_t pid)
{
	char text[512];

	if (read_proc(pid, "stat", text, sizeof(text)) != 0)
		return '\0';
	const char *end = strrchr(text, ')');
	if (end == NULL || end[1] != ' ')
		return '\0';
	return end[2];
}

static enum look look_at_state(pid_t pid)
{
	return state_of(pid) == 'S' ? LOOK_SLEEPING : LOOK_RUNNING;
}

bool look_is_accept(long number)
{
	return number == SYS_accept || number == SYS_accept4;
}

bool look_is_poll(long number)
{
	switch (number) {
#ifdef SYS_poll
	case SYS_poll:
#endif
#ifdef SYS_select
	case SYS_select:
#endif
#ifdef SYS_epoll_wait
	case SYS_epoll_wait:
#endif
	case SYS_ppoll:
	case SYS_pselect6:
	case SYS_epoll_pwait:
	case SYS_epoll_pwait2:
		return true;
	default:
		return false;
	}
}

static enum look look_at_one(pid_t pid)
{
	char text[256], *end;

	if (read_proc(pid, "syscall", text, sizeof(text)) != 0)
		return look_at_state(pid);
	long number = strtol(text, &end, 10);
	if (end == text) /* "running" */
		return LOOK_RUNNING;
	if (look_is_accept(number))
		return LOOK_ACCEPTING;
	return look_is_poll(number) ? LOOK_SLEEPING : LOOK_RUNNING;
}

size_t look_threads(pid_t pid, pid_t threads[LOOK_THREADS_MAX])
{
	char path[64];
	size_t count = 0;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	DIR *dir = opendir(path);
	for (struct dirent *d; dir != NULL && count < LOOK_THREADS_MAX && (d = readdir(dir));)
		if (d->d_name[0] != '.')
			threads[count++] = (pid_t)atoi(d->d_name);
	if (dir != NULL)
		closedir(dir);
	return count;
}

/* Of one thread. */
static size_t children_of_thread(pid_t pid, pid_t thread, pid_t *children, size_t room)
{
	char text[CHILDREN_TEXT], name[64], *at = text, *end;
	size_t n = 0;

	snprintf(name, sizeof(name), "task/%d/children", (int)thread);
	if (room == 0 || read_proc(pid, name, text, sizeof(text)) != 0)
		return 0;
	for (; n < room; at = end) {
		long child = strtol(at, &end, 10);

		if (end == at || child <= 0)
			break;
		children[n++] = (pid_t)child;
	}
	return n;
}

static size_t children_of(pid_t pid, pid_t *children, size_t room)
{
	pid_t threads[LOOK_THREADS_MAX];
	size_t count = look_threads(pid, threads), n = 0;

	for (size_t i = 0; i < count; i++)
		n += children_of_thread(pid, threads[i], children + n, room - n);
	return n;
}

static bool has_accepting_thread(pid_t pid)
{
	pid_t threads[LOOK_THREADS_MAX];
	size_t count = look_threads(pid, threads);

	for (size_t i = 0; i < count; i++)
		if (look_at_one(threads[i]) == LOOK_ACCEPTING)
			return true;
	return false;
}

enum look look_at(pid_t pid)
{
	pid_t children[CHILDREN_MAX];
	enum look best = look_at_one(pid);

	if (best == LOOK_ACCEPTING || has_accepting_thread(pid))
		return LOOK_ACCEPTING;
	size_t count = children_of(pid, children, CHILDREN_MAX);
	for (size_t i = 0; i < count; i++)
		if (has_accepting_thread(children[i]))
			return LOOK_ACCEPTING;
	return best;
}

pid_t look_process_of(pid_t thread)
{
	char text[4096];

	if (read_proc(thread, "status", text, sizeof(text)) != 0)
		return 0;
	const char *line = strstr(text, "\nTgid:");
	return line == NULL ? 0 : (pid_t)strtol(line + strlen("\nTgid:"), NULL, 10);
}

bool look_is_dead(pid_t thread)
{
	char state = state_of(thread);

	return state == 'Z' || state == 'X' || state == '\0';
}

static bool has_bit(const char *status, const char *name, int bit)
{
	const char *line = strstr(status, name);

	return line != NULL && (strtoull(line + strlen(name), NULL, 16) >> bit & 1) != 0;
}

bool look_minds_signal(pid_t pid, int signo)
{
	char text[4096];

	return read_proc(pid, "status", text, sizeof(text)) == 0 &&
	       (has_bit(text, "\nSigCgt:", signo - 1) || has_bit(text, "\nSigIgn:", signo - 1));
}

bool look_is_nonblocking(pid_t pid, int fd)
{
	char text[256], name[32];

	snprintf(name, sizeof(name), "fdinfo/%d", fd);
	if (read_proc(pid, name, text, sizeof(text)) != 0)
		return false;
	const char *line = strstr(text, "flags:");
	return line != NULL && (strtol(line + strlen("flags:"), NULL, 8) & O_NONBLOCK) != 0;
}

bool look_has_epoll(pid_t pid)
{
	static const char kind[] = "anon_inode:[eventpoll]";
	char path[64], target[sizeof(kind)];
	bool found = false;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	DIR *dir = opendir(path);
	for (struct dirent *d; dir != NULL && !found && (d = readdir(dir)) != NULL;) {
		ssize_t n = readlinkat(dirfd(dir), d->d_name, target, sizeof(target));

		found = n == (ssize_t)sizeof(kind) - 1 && memcmp(target, kind, (size_t)n) == 0;
	}
	if (dir != NULL)
		closedir(dir);
	return found;
}

/* A thread that still runs could accept a connection after we have looked. */
bool look_is_stopped(pid_t pid)
{
	pid_t threads[LOOK_THREADS_MAX];
	size_t count = look_threads(pid, threads);

	for (size_t i = 0; i < count; i++) {
		char state = state_of(threads[i]);

		if (state != 'T' && state != 't' && !look_is_dead(threads[i]))
			return false;
	}
	return count < LOOK_THREADS_MAX;
}

size_t look_group(pid_t pid, pid_t group[LOOK_GROUP_MAX])
{
	size_t count = 1;

	group[0] = pid;
	for (size_t i = 0; i < count; i++)
		count += children_of(group[i], group + count, LOOK_GROUP_MAX - count);
	return count;
}

static bool is_read(long number)
{
	return number == SYS_read || number == SYS_readv || number == SYS_recvfrom ||
	       number == SYS_recvmsg;
}

/* "NUMBER 0xARGUMENT ...": the first argument is the descriptor. */
ino_t look_reads_from(pid_t pid)
{
	char text[256], path[64], *end;
	struct stat st;

	if (read_proc(pid, "syscall", text, sizeof(text)) != 0)
		return 0;
	long number = strtol(text, &end, 10);
	if (end == text || !is_read(number))
		return 0;
	unsigned long fd = strtoul(end, NULL, 16);
	snprintf(path, sizeof(path), "/proc/%d/fd/%lu", (int)pid, fd);
	return stat(path, &st) == 0 && S_ISSOCK(st.st_mode) ? st.st_ino : 0;
}

static uint64_t resident_of_one(pid_t pid)
{
	char text[128], *end;

	if (read_proc(pid, "statm", text, sizeof(text)) != 0)
		return 0;
	(void)strtoull(text, &end, 10);
	return strtoull(end, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t look_resident(pid_t pid)
{
	pid_t group[LOOK_GROUP_MAX];
	size_t count = look_group(pid, group);
	uint64_t largest = 0;

	for (size_t i = 0; i < count; i++) {
		uint64_t size = resident_of_one(group[i]);

		largest = size > largest ? size : largest;
	}
	return largest;
}
