/*
 * accesslog: writes lines, and looks for another file.
 */
#include "worker/accesslog.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/board.h"
#include "common/conf.h"
#include "common/job.h"
#include "common/logformat.h"

#define QUARTER 900 /* seconds; local time changes at their borders only */

/* The descriptor in the message that waits there, which stays for others. -1: none. */
static int peek(int socket)
{
	char byte;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct msghdr msg = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = CMSG_LEN(sizeof(int)) };
	int fd;

	if (recvmsg(socket, &msg, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC) <= 0)
		return -1;
	const struct cmsghdr *header = CMSG_FIRSTHDR(&msg);
	if (header == NULL || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS ||
		header->cmsg_len != CMSG_LEN(sizeof(fd)))
		return -1;
	memcpy(&fd, CMSG_DATA(header), sizeof(fd));
	return fd;
}

void accesslog_follow(struct accesslog *log)
{
	uint32_t reopens = board_reopens(log->seat);

	if (log->fd >= 0 && reopens == log->reopens)
		return;
	int fd = peek(log->socket);
	if (fd < 0)
		return;
	if (log->fd >= 0)
		close(log->fd);
	log->fd = fd;
	log->reopens = reopens;
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void ask_offset(struct accesslog *log)
{
	uint64_t seconds = now_ms() / 1000;
	time_t now = (time_t)seconds;
	struct tm tm;

	/* Also when the clock was set back. */
	if (seconds < log->offset_until && log->offset_until - seconds <= QUARTER)
		return;
	log->offset_until = seconds - seconds % QUARTER + QUARTER;
	log->facts.offset = localtime_r(&now, &tm) != NULL ? (int)tm.tm_gmtoff : 0;
}

bool accesslog_open(struct accesslog *log, const struct job *job, const struct board_seat *seat)
{
	*log = (struct accesslog){ .socket = job->access_fd, .fd = -1, .seat = seat };
	if (job->access_fd < 0)
		return true;
	log->format = logformat_compile(job->pool->access_format, NULL);
	log->line = log->format == NULL ? NULL : malloc(1 + logline_room(log->format));
	if (log->line == NULL) {
		errno = ENOMEM;
		return false;
	}
	log->facts.pool = job->pool->name;
	log->facts.pid = (unsigned)getpid();
	ask_offset(log);
	errno = ENOENT;
	accesslog_follow(log);
	return log->fd >= 0;
}

bool accesslog_is_on(const struct accesslog *log)
{
	return log->fd >= 0;
}

/* False: not the whole line was written. */
static bool write_line(struct accesslog *log, const struct logline *facts)
{
	struct logline all = *facts;
	uint64_t now = now_ms(), took = facts->us / 1000;

	all.pool = log->facts.pool;
	all.pid = log->facts.pid;
	all.offset = log->facts.offset;
	all.began_ms = now > took ? now - took : 0;
	accesslog_follow(log);
	size_t length = logline_write(log->format, &all, log->line + 1);
	const char *from = log->line + 1;
	if (board_mends_line(log->seat)) { /* an empty line at worst */
		log->line[0] = '\n';
		from = log->line;
		length++;
	}
	ssize_t n = write(log->fd, from, length);
	if (n == (ssize_t)length)
		return true;
	if (n >= 0)
		errno = ENOSPC; /* a part of it found room */
	board_lost_line(log->seat);
	return false;
}

void accesslog_write(struct accesslog *log, const struct logline *facts)
{
	ask_offset(log);
	bool written = write_line(log, facts);
	int reason = errno;
	uint64_t lost;

	if (!written && board_log_fails(log->seat))
		fprintf(stderr, "the access log cannot be written, its lines are lost: %s\n",
			strerror(reason));
	else if (written && (lost = board_log_works(log->seat)) > 0)
		fprintf(stderr, "the access log is written again, %" PRIu64 " lines were lost\n",
			lost);
}

/* Nobody can be told here; the next one who fails does it. */
void accesslog_write_dying(struct accesslog *log, const struct logline *facts)
{
	write_line(log, facts);
}
