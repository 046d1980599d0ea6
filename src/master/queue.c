/*
 * queue: asks the kernel, which answers at once.
 */
#include "master/queue.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "master/sockdiag.h"

/* Of a listening socket: what waits, and how much may (tcp(7)). */
static int read_tcp(int listener, struct queue *out)
{
	struct tcp_info info;
	socklen_t size = sizeof(info);

	if (getsockopt(listener, IPPROTO_TCP, TCP_INFO, &info, &size) != 0)
		return -1;
	*out = (struct queue){ .waiting = info.tcpi_unacked, .most = info.tcpi_sacked };
	return 0;
}

static int read_unix(int listener, struct queue *out)
{
	struct sockdiag_unix seen;
	struct stat st;

	if (fstat(listener, &st) != 0 || sockdiag_unix(st.st_ino, &seen) != 1)
		return -1;
	*out = (struct queue){ .waiting = seen.waiting, .most = seen.most };
	return 0;
}

int queue_read(int listener, struct queue *out)
{
	int domain = 0;
	socklen_t size = sizeof(domain);

	*out = (struct queue){ 0 };
	if (getsockopt(listener, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0)
		return -1;
	if ((domain == AF_UNIX ? read_unix(listener, out) : read_tcp(listener, out)) == 0)
		return 0;
	struct pollfd state = { .fd = listener, .events = POLLIN };
	out->waiting = poll(&state, 1, 0) == 1 && (state.revents & POLLIN) != 0;
	return -1;
}
