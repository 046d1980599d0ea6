/*
 * accessfile: one message in a socket pair.
 *
 * Workers have the reading end, and one that means no good can take the message or shut the pair
 * down: then its pool's workers keep the file that they have until others are started. Nothing here
 * waits.
 */
#include "master/accessfile.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/append.h"
#include "common/err.h"

static bool offer(const struct accessfile *file)
{
	char byte = 0;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { { 0 } };
	struct msghdr msg = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes) };
	struct cmsghdr *header = CMSG_FIRSTHDR(&msg);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(file->fd));
	memcpy(CMSG_DATA(header), &file->fd, sizeof(file->fd));
	return sendmsg(file->ends[0], &msg, MSG_DONTWAIT | MSG_NOSIGNAL) == 1;
}

/* The oldest message goes; its descriptor is closed, since nobody asks for it. */
static void withdraw(const struct accessfile *file)
{
	char byte;

	(void)!recv(file->ends[1], &byte, 1, MSG_DONTWAIT);
}

static bool is_offered(const struct accessfile *file)
{
	struct pollfd state = { .fd = file->ends[1], .events = POLLIN };

	return poll(&state, 1, 0) == 1 && state.revents == POLLIN;
}

static void close_pair(struct accessfile *file)
{
	for (int i = 0; i < 2; i++) {
		if (file->ends[i] >= 0)
			close(file->ends[i]);
		file->ends[i] = -1;
	}
}

static int open_pair(struct accessfile *file, struct err *err)
{
	close_pair(file);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, file->ends) != 0)
		return err_set(err, EX_OSERR, "cannot make a socket pair: %s", strerror(errno));
	return offer(file) ? 0
			   : err_set(err, EX_OSERR, "cannot hand over the access log: %s",
				     strerror(errno));
}

int accessfile_open(struct accessfile *file, const char *path, struct err *err)
{
	*file = (struct accessfile)ACCESSFILE_NONE;
	file->fd = append_open(path, APPEND_FILE, err);
	if (file->fd >= 0 && open_pair(file, err) == 0)
		return 0;
	accessfile_close(file);
	return -1;
}

/* The new message comes before the old one goes: there always is one to look at. */
int accessfile_reopen(struct accessfile *file, const char *path, struct err *err)
{
	int fd = append_open(path, APPEND_FILE, err);

	if (fd < 0)
		return -1;
	close(file->fd);
	file->fd = fd;
	if (offer(file))
		withdraw(file);
	accessfile_mend(file);
	return 0;
}

void accessfile_wake(const struct accessfile *file)
{
	if (file->fd >= 0 && offer(file))
		withdraw(file);
}

void accessfile_mend(struct accessfile *file)
{
	int from = -1;

	if (file->fd < 0)
		return;
	/* Both are shared with workers, and so is what they set: where a look at the message begins
	 * (SO_PEEK_OFF), and that writing is appending. */
	setsockopt(file->ends[1], SOL_SOCKET, SO_PEEK_OFF, &from, sizeof(from));
	fcntl(file->fd, F_SETFL, O_APPEND | O_NONBLOCK);
	if (!is_offered(file) && !offer(file))
		open_pair(file, NULL); /* without it workers cannot start, and say so */
}

void accessfile_close(struct accessfile *file)
{
	if (file->fd >= 0)
		close(file->fd);
	file->fd = -1;
	close_pair(file);
}
