/*
 * kept: the passing of descriptors from worker to worker (unix(7), SCM_RIGHTS).
 *
 * Whoever receives takes the descriptor from a worker of the same pool: one that lies can only harm
 * workers that share its user, its listeners and its program.
 */
#include "worker/kept.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fds.h"

#define LEFT_MS 8 /* the unit of what is left; 24 bits hold more than receive-timeout can be */
#define LEFT_MOST 0xffffffu

/* What is said of the connection. left: 0 of a head that has not begun, and of one that a worker of
 * the version before an upgrade gives away; else one more than is left. */
struct note {
	uint32_t requests;
	uint32_t times : 8, left : 24;
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
	return fds_untaken(handover) != 0;
}

static uint32_t left_until(uint64_t due)
{
	uint64_t now = due > 0 ? clock_ms() : 0, left = due > now ? (due - now) / LEFT_MS : 0;

	if (due == 0)
		return 0;
	return left < LEFT_MOST ? (uint32_t)left + 1 : LEFT_MOST;
}

static uint64_t due_after(uint32_t left)
{
	return left > 0 ? clock_ms() + (uint64_t)(left - 1) * LEFT_MS : 0;
}

bool kept_send(int handover, int fd, const struct kept_parcel *parcel)
{
	struct letter p;

	wrap(&p, parcel);
	p.note = (struct note){ .requests = parcel->requests,
		.times = parcel->times,
		.left = left_until(parcel->head_due) & LEFT_MOST };
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

/* What was only to wake us is passed over: it must not cost the connection behind it a turn, and
 * would fill the queue where all are busy. An empty message looks like the end, but for the
 * hang-up. */
int kept_receive(int handover, struct kept_parcel *parcel)
{
	struct letter p;
	ssize_t n;
	int fd;

	do {
		wrap(&p, parcel);
		/* For one descriptor exactly: where padding has room for a second we would get
		 * that, too. */
		p.msg.msg_controllen = CMSG_LEN(sizeof(int));
		n = recvmsg(handover, &p.msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		if (n < 0)
			return -1;
		fd = unwrap(&p, (size_t)n);
	} while (fd < 0 && n > 0);
	if (fd < 0) {
		errno = kept_has_siblings(handover) ? EAGAIN : EPIPE;
		return -1;
	}
	parcel->times = p.note.times;
	parcel->requests = p.note.requests;
	parcel->head_due = due_after(p.note.left);
	parcel->length = (size_t)n - sizeof(p.note);
	return fd;
}
