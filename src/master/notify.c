/*
 * notify: the sender's side of sd_notify(3), a datagram per message.
 */
#include "master/notify.h"

#include <event2/event.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/units.h"

static struct {
	struct sockaddr_un to;
	socklen_t length;  /* 0: nobody listens */
	uint64_t watchdog; /* ms between two words of it; 0: nobody asks */
} notify;

static void read_socket(const char *path)
{
	size_t length = path == NULL ? 0 : strlen(path);

	if (length < 2 || length >= sizeof(notify.to.sun_path) ||
		(path[0] != '/' && path[0] != '@'))
		return;
	notify.to.sun_family = AF_UNIX;
	memcpy(notify.to.sun_path, path, length);
	if (path[0] == '@')
		notify.to.sun_path[0] = '\0';
	notify.length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
}

void notify_init(void)
{
	const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
	uint64_t value, owner = (uint64_t)getpid();

	read_socket(getenv("NOTIFY_SOCKET"));
	if (pid != NULL && units_number(pid, 1, INT32_MAX, &owner, NULL) != 0)
		owner = 0;
	if (usec != NULL && owner == (uint64_t)getpid() &&
		units_number(usec, 2000, UINT64_MAX / 2, &value, NULL) == 0)
		notify.watchdog = value / 2000;
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
}

void notify_send(const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	if (notify.length == 0)
		return;
	va_start(ap, fmt);
	int n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return;
	size_t length = n < (int)sizeof(text) ? (size_t)n : sizeof(text) - 1;
	(void)!sendto(
		fd, text, length, MSG_NOSIGNAL, (const struct sockaddr *)&notify.to, notify.length);
	close(fd);
}

static void on_watchdog(int fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;
	notify_send("WATCHDOG=1");
}

int notify_keep_alive(struct event_base *base)
{
	const struct timeval every = { (time_t)(notify.watchdog / 1000),
		(suseconds_t)(notify.watchdog % 1000) * 1000 };

	if (notify.length == 0 || notify.watchdog == 0)
		return 0;
	struct event *event = event_new(base, -1, EV_PERSIST, on_watchdog, NULL);
	return event == NULL ? -1 : event_add(event, &every);
}
