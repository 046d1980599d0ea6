/*
 * kept: a small set, and the passing of descriptors from worker to worker (unix(7), SCM_RIGHTS).
 *
 * Whoever receives takes the descriptor from a worker of the same pool: one that lies can only harm
 * workers that share its user, its listeners and its program.
 */
#include "worker/kept.h"

#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

/* One byte must travel along, and the descriptor needs room that is aligned. */
struct parcel {
	char byte;
	struct iovec iov;
	struct msghdr msg;
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
};

static void wrap(struct parcel *p)
{
	memset(p, 0, sizeof(*p));
	p->iov = (struct iovec){ .iov_base = &p->byte, .iov_len = sizeof(p->byte) };
	p->msg.msg_iov = &p->iov;
	p->msg.msg_iovlen = 1;
	p->msg.msg_control = p->control.bytes;
	p->msg.msg_controllen = sizeof(p->control.bytes);
}

void kept_limit(struct kept *kept)
{
	struct rlimit limit;

	kept->most = KEPT_MAX;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur / 2 < KEPT_MAX)
		kept->most = (size_t)limit.rlim_cur / 2;
}

bool kept_add(struct kept *kept, int fd)
{
	if (kept->count >= kept->most)
		return false;
	kept->fds[kept->count++] = fd;
	return true;
}

void kept_forget(struct kept *kept, int fd)
{
	for (size_t i = 0; i < kept->count; i++)
		if (kept->fds[i] == fd) {
			kept->fds[i] = kept->fds[--kept->count];
			return;
		}
}

int kept_take(struct kept *kept)
{
	return kept->count > 0 ? kept->fds[--kept->count] : -1;
}

bool kept_has_siblings(int handover)
{
	struct pollfd writable = { .fd = handover, .events = POLLOUT };

	return poll(&writable, 1, 0) == 1 && writable.revents == POLLOUT;
}

bool kept_is_waiting(int handover)
{
	int bytes = 0;

	return ioctl(handover, SIOCOUTQ, &bytes) != 0 || bytes > 0;
}

bool kept_send(int handover, int fd)
{
	struct parcel p;

	wrap(&p);
	struct cmsghdr *header = CMSG_FIRSTHDR(&p.msg);
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(header), &fd, sizeof(fd));
	if (sendmsg(handover, &p.msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return false;
	close(fd);
	return true;
}

int kept_receive(int handover)
{
	struct parcel p;
	int fd = -1;

	wrap(&p);
	ssize_t n = recvmsg(handover, &p.msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n == 0)
		errno = EPIPE;
	if (n <= 0)
		return -1;
	struct cmsghdr *header = CMSG_FIRSTHDR(&p.msg);
	if (header != NULL && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
		header->cmsg_len == CMSG_LEN(sizeof(fd)))
		memcpy(&fd, CMSG_DATA(header), sizeof(fd));
	else
		errno = EAGAIN; /* a message without a descriptor is none of ours */
	return fd;
}
