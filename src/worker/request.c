/*
 * request: the loop around FCGX_Accept_r() that libfcgi does not offer: with a connection of our
 * own.
 */
#include "worker/request.h"

#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LINGER_MS 2000 /* in all, for the rest of a request that the application did not read */
#define LINGER_BYTES (64 << 20)

static FCGX_Request request; /* libfcgi's own state; one for the process */

int request_init(void)
{
	return FCGX_Init() != 0 || FCGX_InitRequest(&request, -1, 0) != 0 ? -1 : 0;
}

/* Reads away what is left of the body, so that the next request on the connection begins where
 * libfcgi will look for it. False: too much, or the connection is broken. */
static bool drain_body(void)
{
	char bytes[8192];
	size_t total = 0;
	int n;

	while ((n = FCGX_GetStr(bytes, sizeof(bytes), request.in)) > 0)
		if ((total += (size_t)n) > LINGER_BYTES)
			return false;
	return FCGX_GetError(request.in) == 0;
}

static bool has_unread_body(void)
{
	const char *length = FCGX_GetParam("CONTENT_LENGTH", request.envp);

	return length != NULL && strtoull(length, NULL, 10) > 0 && !FCGX_HasSeenEOF(request.in);
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* Closing a socket with unread bytes resets it, and the client may lose the answer. */
static void close_gently(int fd, bool unread)
{
	char bytes[16384];
	size_t total = 0;
	ssize_t n;

	/* Without a body this finds the closing record of an empty one, if it comes late. */
	while ((n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0 && total < LINGER_BYTES) {
		total += (size_t)n;
		unread = true;
	}
	if (unread && n != 0)
		shutdown(fd, SHUT_WR);
	uint64_t end = now_ms() + LINGER_MS;
	while (unread && n != 0 && total < LINGER_BYTES && now_ms() < end) {
		struct pollfd readable = { .fd = fd, .events = POLLIN };

		if (poll(&readable, 1, LINGER_MS) != 1)
			break;
		n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
		if (n < 0)
			break;
		total += (size_t)n;
	}
	close(fd);
}

enum request_end request_serve(const struct preforkd_app *app, int fd)
{
	request.ipcFd = fd;
	request.keepConnection = 1; /* its first FCGX_Finish_r() leaves the descriptor alone */
	if (FCGX_Accept_r(&request) != 0)
		return REQUEST_NONE; /* it has closed the connection */
	int status = app->handle(&request);
	FCGX_SetExitStatus(status, request.out);
	bool keep = request.keepConnection != 0, unread = has_unread_body();
	/* The end of the body may come late even where there is none: it belongs to this request.
	 */
	if (keep && FCGX_HasSeenEOF(request.in) == 0) {
		FCGX_FFlush(request.out);
		keep = drain_body();
	}
	request.keepConnection = 1; /* the close is ours */
	FCGX_Finish_r(&request);
	fd = request.ipcFd; /* -1 where libfcgi has found it broken and closed it */
	request.ipcFd = -1;
	if (keep && fd >= 0)
		return REQUEST_KEPT;
	if (fd >= 0)
		close_gently(fd, unread);
	return REQUEST_CLOSED;
}
