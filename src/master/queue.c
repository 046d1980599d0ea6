/*
 * queue: asks the kernel. A question over netlink is answered before send(2) returns.
 */
#include "master/queue.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

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

static int ask(int netlink, int listener)
{
	struct {
		struct nlmsghdr head;
		struct unix_diag_req body;
	} question = { .head = { .nlmsg_len = sizeof(question),
			       .nlmsg_type = SOCK_DIAG_BY_FAMILY,
			       .nlmsg_flags = NLM_F_REQUEST },
		.body = { .sdiag_family = AF_UNIX,
			.udiag_states = ~0u,
			.udiag_show = UDIAG_SHOW_RQLEN,
			.udiag_cookie = { ~0u, ~0u } } };
	struct stat st;

	if (fstat(listener, &st) != 0)
		return -1;
	question.body.udiag_ino = (uint32_t)st.st_ino;
	return send(netlink, &question, sizeof(question), 0) == (ssize_t)sizeof(question) ? 0 : -1;
}

static int take_answer(int netlink, struct queue *out)
{
	union {
		struct nlmsghdr head;
		char bytes[1024];
	} answer;
	ssize_t size = recv(netlink, &answer, sizeof(answer), MSG_DONTWAIT);

	if (size < (ssize_t)NLMSG_LENGTH(sizeof(struct unix_diag_msg)) ||
		answer.head.nlmsg_len > (size_t)size ||
		answer.head.nlmsg_type != SOCK_DIAG_BY_FAMILY)
		return -1;
	struct unix_diag_msg *body = NLMSG_DATA(&answer.head);
	struct rtattr *attr = (struct rtattr *)(void *)(body + 1);
	size_t left = answer.head.nlmsg_len - NLMSG_LENGTH(sizeof(*body));
	for (; RTA_OK(attr, left); attr = RTA_NEXT(attr, left)) {
		struct unix_diag_rqlen length;

		if (attr->rta_type != UNIX_DIAG_RQLEN || RTA_PAYLOAD(attr) < sizeof(length))
			continue;
		memcpy(&length, RTA_DATA(attr), sizeof(length));
		*out = (struct queue){ .waiting = length.udiag_rqueue,
			.most = length.udiag_wqueue };
		return 0;
	}
	return -1;
}

static int read_unix(int listener, struct queue *out)
{
	int netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);

	if (netlink < 0)
		return -1;
	int rc = ask(netlink, listener) == 0 ? take_answer(netlink, out) : -1;
	close(netlink);
	return rc;
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
