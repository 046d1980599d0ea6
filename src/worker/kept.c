/*
 * kept: the passing of descriptors from worker to worker (unix(7), SCM_RIGHTS).
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
#include <sys/socket.h>
#include <unistd.h>

/* What is said of the connection. */
struct note {
	uint32_t requests;
	uint8_t times;
	uint8_t none[3];
};

/* Some bytes must travel along even where nothing has been read, and the descriptor needs room that
 * is aligned. */
struct letter {
	struct note note;
	struct iovec iov[2];
	struct msghdr msg;
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
};

static void wrap(struct letter *p, const struct kept_parcel *parcel)
{
	memset(p, 0, sizeof(*p));
	p->iov[0] = (struct iovec){ .iov_base = &p->note, .iov_len = sizeof(p->note) };
	p->iov[1] = (struct iovec){ .iov_base = parcel->bytes, .iov_len = parcel->length };
	p->msg.msg_iov = p->iov;
	p->msg.msg_iovlen = 2;
	p->msg.msg_control = p->control.bytes;
	p->msg.msg_controllen = sizeof(p->control.bytes);
}

bool kept_has_siblings(int handover)
{
	struct pollfd state = { .fd = handover }; /* full or not: it ends by a hang-up */

	return poll(&state, 1, 0) == 0;
}

bool kept_is_waiting(int handover)
{
	int bytes = 0;

	return ioctl(handover, SIOCOUTQ, &bytes) != 0 || bytes > 0;
}

bool kept_send(int handover, int fd, const struct kept_parcel *parcel)
{
	struct letter p;

	wrap(&p, parcel);
	p.note = (struct note){ .requests = parcel->requests, .times = parcel->times };
	struct cmsghdr *header = CMSG_FIRSTHDR(&p.msg);
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(header), &fd, sizeof(fd));
	return sendmsg(handover, &p.msg, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

void kept_nudge(int handover)
{
	const struct note nothing = { 0 };

	(void)!send(handover, &nothing, sizeof(nothing), MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* What was cut is none of ours; what has no descriptor was to wake us. */
static int unwrap(struct letter *p, size_t length)
{
	struct cmsghdr *header = CMSG_FIRSTHDR(&p->msg);
	int fd = -1;

	if (header != NULL && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
		header->cmsg_len == CMSG_LEN(sizeof(fd)))
		memcpy(&fd, CMSG_DATA(header), sizeof(fd));
	if (fd >= 0 && (length < sizeof(p->note) || (p->msg.msg_flags & MSG_TRUNC) != 0)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* An empty message looks like the end, but for the hang-up. */
int kept_receive(int handover, struct kept_parcel *parcel)
{
	struct letter p;

	wrap(&p, parcel);
	/* For one descriptor exactly: where padding has room for a second we would get that, too.
	 */
	p.msg.msg_controllen = CMSG_LEN(sizeof(int));
	ssize_t n = recvmsg(handover, &p.msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0)
		return -1;
	int fd = unwrap(&p, (size_t)n);
	if (fd < 0) {
		errno = n == 0 && !kept_has_siblings(handover) ? EPIPE : EAGAIN;
		return -1;
	}
	parcel->times = p.note.times;
	parcel->requests = p.note.requests;
	parcel->length = (size_t)n - sizeof(p.note);
	return fd;
}
