/*
 * look: reads /proc/PID/syscall, and where that is not permitted /proc/PID/stat.
 */
#include "master/look.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CHILDREN_MAX 64

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
static enum look look_at_state(pid_t pid)
{
	char text[512];

	if (read_proc(pid, "stat", text, sizeof(text)) != 0)
		return LOOK_RUNNING;
	const char *end = strrchr(text, ')');
	return end != NULL && end[1] == ' ' && end[2] == 'S' ? LOOK_SLEEPING : LOOK_RUNNING;
}

static enum look look_at_one(pid_t pid)
{
	char text[256], *end;

	if (read_proc(pid, "syscall", text, sizeof(text)) != 0)
		return look_at_state(pid);
	long number = strtol(text, &end, 10);
	if (end == text) /* "running" */
		return LOOK_RUNNING;
	switch (number) {
	case SYS_accept:
	case SYS_accept4:
		return LOOK_ACCEPTING;
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
		return LOOK_SLEEPING;
	default:
		return LOOK_RUNNING;
	}
}

enum look look_at(pid_t pid)
{
	char children[1024], name[64];
	enum look best = look_at_one(pid);

	if (best == LOOK_ACCEPTING)
		return best;
	snprintf(name, sizeof(name), "task/%d/children", (int)pid);
	if (read_proc(pid, name, children, sizeof(children)) != 0)
		return best;
	char *at = children, *end;
	for (int i = 0; i < CHILDREN_MAX; i++, at = end) {
		long child = strtol(at, &end, 10);

		if (end == at || child <= 0)
			break;
		if (look_at_one((pid_t)child) == LOOK_ACCEPTING)
			return LOOK_ACCEPTING;
	}
	return best;
}
