/*
 * handover: sockets that keep messages apart, so that one descriptor goes to one receiver.
 */
#include "master/handover.h"

#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/fds.h"

static bool is_alive(int fd)
{
	struct pollfd state = { .fd = fd }; /* full or not: connections are under way in it */

	return poll(&state, 1, 0) == 0;
}

int handover_open(struct handover *handover)
{
	/* A worker may have shut it down for all. */
	if (handover->fds[0] >= 0 && is_alive(handover->fds[0]))
		return 0;
	handover_end(handover);
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, handover->fds);
}

bool handover_is_waiting(const struct handover *handover)
{
	return fds_untaken(handover->fds[0]) > 0;
}

void handover_end(struct handover *handover)
{
	for (int i = 0; i < 2; i++) {
		if (handover->fds[i] < 0)
			continue;
		shutdown(handover->fds[i], SHUT_RDWR); /* the workers have it too */
		close(handover->fds[i]);
		handover->fds[i] = -1;
	}
}
