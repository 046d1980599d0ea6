/*
 * sockdiag: questions over netlink. What comes back is the kernel's; its lengths are checked all
 * the same.
 */
#include "master/sockdiag.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANSWER_SIZE 32768     /* bytes; the kernel fills as much at a time */
#define CONNECTIONS_MAX 65536 /* more are not listed: the master has other things to do */

union answer {
	struct nlmsghdr head;
	char bytes[ANSWER_SIZE];
};

static int ask(const void *question, size_t size)
{
	int netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);

	if (netlink >= 0 && send(netlink, question, size, MSG_DONTWAIT) == (ssize_t)size)
		return netlink;
	if (netlink >= 0)
		close(netlink);
	return -1;
}

static void take_attribute(struct rtattr *attr, struct sockdiag_unix *out)
{
	struct unix_diag_rqlen length;
	size_t size = RTA_PAYLOAD(attr);

	if (attr->rta_type == UNIX_DIAG_RQLEN && size >= sizeof(length)) {
		memcpy(&length, RTA_DATA(attr), sizeof(length));
		out->waiting = length.udiag_rqueue;
		out->most = length.udiag_wqueue;
	} else if (attr->rta_type == UNIX_DIAG_NAME && size <= sizeof(out->name.sun_path)) {
		memcpy(out->name.sun_path, RTA_DATA(attr), size);
		out->length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size);
	}
}

static int take_unix(struct nlmsghdr *head, struct sockdiag_unix *out)
{
	if (head->nlmsg_type == NLMSG_ERROR && head->nlmsg_len >= NLMSG_LENGTH(sizeof(int)))
		return ((struct nlmsgerr *)NLMSG_DATA(head))->error == -ENOENT ? 0 : -1;
	if (head->nlmsg_type != SOCK_DIAG_BY_FAMILY ||
		head->nlmsg_len < NLMSG_LENGTH(sizeof(struct unix_diag_msg)))
		return -1;
	struct unix_diag_msg *body = NLMSG_DATA(head);
	struct rtattr *attr = (struct rtattr *)(void *)(body + 1);
	size_t left = head->nlmsg_len - NLMSG_LENGTH(sizeof(*body));

	*out = (struct sockdiag_unix){ .connected = body->udiag_state == TCP_ESTABLISHED,
		.name.sun_family = AF_UNIX };
	for (; RTA_OK(attr, left); attr = RTA_NEXT(attr, left))
		take_attribute(attr, out);
	return 1;
}

int sockdiag_unix(ino_t inode, struct sockdiag_unix *out)
{
	const struct {
		struct nlmsghdr head;
		struct unix_diag_req body;
	} question = { .head = { .nlmsg_len = sizeof(question),
			       .nlmsg_type = SOCK_DIAG_BY_FAMILY,
			       .nlmsg_flags = NLM_F_REQUEST },
		.body = { .sdiag_family = AF_UNIX,
			.udiag_states = ~0u,
			.udiag_ino = (uint32_t)inode,
			.udiag_show = UDIAG_SHOW_RQLEN | UDIAG_SHOW_NAME,
			.udiag_cookie = { ~0u, ~0u } } };
	union answer answer;
	int netlink = ask(&question, sizeof(question)), rc = -1;

	if (netlink < 0)
		return -1;
	ssize_t size = recv(netlink, &answer, sizeof(answer), MSG_DONTWAIT);
	if (size > 0 && NLMSG_OK(&answer.head, (size_t)size))
		rc = take_unix(&answer.head, out);
	close(netlink);
	return rc;
}

/* Grows by doubling: the room is a power of two, or none. */
static int append(ino_t **list, size_t *count, ino_t inode)
{
	if (*count >= CONNECTIONS_MAX)
		return -1;
	if ((*count & (*count - 1)) == 0) {
		size_t room = *count == 0 ? 1 : 2 * *count;
		ino_t *larger = realloc(*list, room * sizeof(ino_t));

		if (larger == NULL)
			return -1;
		*list = larger;
	}
	(*list)[(*count)++] = inode;
	return 0;
}

/* What nobody has accepted, or nobody has any more, has no inode. */
static int take_tcp(struct nlmsghdr *head, struct sockdiag_tcp *out)
{
	struct inet_diag_msg *body = NLMSG_DATA(head);

	if (head->nlmsg_len < NLMSG_LENGTH(sizeof(*body)) || body->idiag_inode == 0)
		return 0;
	return body->idiag_state == TCP_LISTEN
		       ? append(&out->listeners, &out->listener_count, body->idiag_inode)
		       : append(&out->connections, &out->count, body->idiag_inode);
}

/* 1: that was all; 0: there is more; -1: it failed. */
static int take_part(struct nlmsghdr *head, size_t size, struct sockdiag_tcp *out)
{
	for (; NLMSG_OK(head, size); head = NLMSG_NEXT(head, size)) {
		if (head->nlmsg_type == NLMSG_DONE)
			return 1;
		if (head->nlmsg_type != SOCK_DIAG_BY_FAMILY || take_tcp(head, out) != 0)
			return -1;
	}
	return 0;
}

static int by_number(const void *a, const void *b)
{
	ino_t left = *(const ino_t *)a, right = *(const ino_t *)b;

	return (left > right) - (left < right);
}

int sockdiag_tcp(int family, in_port_t port, struct sockdiag_tcp *out)
{
	const struct {
		struct nlmsghdr head;
		struct inet_diag_req_v2 body;
	} question = { .head = { .nlmsg_len = sizeof(question),
			       .nlmsg_type = SOCK_DIAG_BY_FAMILY,
			       .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		.body = { .sdiag_family = (uint8_t)family,
			.sdiag_protocol = IPPROTO_TCP,
			.idiag_states = ~(1u << TCP_TIME_WAIT | 1u << TCP_SYN_RECV),
			.id = { .idiag_sport = port } } };
	union answer answer;
	int netlink = ask(&question, sizeof(question)), rc = netlink < 0 ? -1 : 0;

	*out = (struct sockdiag_tcp){ 0 };
	while (rc == 0) {
		ssize_t size = recv(netlink, &answer, sizeof(answer), MSG_DONTWAIT);

		rc = size > 0 ? take_part(&answer.head, (size_t)size, out) : -1;
	}
	if (netlink >= 0)
		close(netlink);
	if (rc < 0) {
		sockdiag_tcp_free(out);
		return -1;
	}
	if (out->count > 0)
		qsort(out->connections, out->count, sizeof(ino_t), by_number);
	return 0;
}

void sockdiag_tcp_free(struct sockdiag_tcp *tcp)
{
	free(tcp->connections);
	free(tcp->listeners);
	*tcp = (struct sockdiag_tcp){ 0 };
}
