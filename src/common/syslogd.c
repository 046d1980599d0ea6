/*
 * syslogd: one socket, connected anew when the daemon was restarted.
 */
#include "common/syslogd.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#define LINE_SIZE 4096

static int sock = -1;

static bool connect_daemon(void)
{
	const struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "/dev/log" };

	if (sock >= 0)
		close(sock);
	sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return sock >= 0 && connect(sock, (const struct sockaddr *)&address, sizeof(address)) == 0;
}

bool syslogd_send(int level, const char *line)
{
	char text[LINE_SIZE], when[32];
	time_t now = time(NULL);
	struct tm tm;

	localtime_r(&now, &tm);
	strftime(when, sizeof(when), "%b %e %H:%M:%S", &tm);
	snprintf(text, sizeof(text), "<%d>%s preforkd[%d]: %s", LOG_DAEMON | level, when,
		(int)getpid(), line);
	for (int tries = 0; tries < 2; tries++) {
		if (sock >= 0 && send(sock, text, strlen(text), MSG_NOSIGNAL) >= 0)
			return true;
		if (sock >= 0 && (errno == EAGAIN || errno == ENOBUFS))
			return false;
		if (!connect_daemon())
			return false;
	}
	return false;
}
