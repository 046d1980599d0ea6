/*
 * log: one place for every line that the daemon says.
 *
 * Sinks are stderr, syslog(3) and a file. A line is one write(2), so lines of several processes do
 * not mix. Nothing here waits for a reader: a pipe that is full loses the line, and the next line
 * that fits says how many were lost. Must never be called from a signal handler.
 */
#include "common/log.h"

#define LIBBSD_OPENBSD_VIS /* its strnvis(); not used here, but the header asks */
#include <bsd/vis.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "common/append.h"
#include "common/err.h"
#include "common/syslogd.h"

#define LINE_SIZE 4000 /* a pipe that can be written takes PIPE_BUF bytes without waiting */

struct log_file {
	char *path;
	int fd;
	unsigned long lost; /* lines that could not be written since the last that could */
};

static struct {
	int level;
	bool use_syslog;
	struct log_file *file; /* NULL: stderr or syslog */
	int stderr_fd;         /* that does not block; -1: there is only STDERR_FILENO */
	unsigned long lost;    /* lines that stderr or syslog did not take */
	log_listener tap;      /* NULL: none */
} sink = { .level = LOG_NOTICE, .stderr_fd = -1 };

static const char *const level_names[] = {
	[LOG_ERR] = "error",
	[LOG_WARNING] = "warning",
	[LOG_NOTICE] = "notice",
	[LOG_INFO] = "info",
	[LOG_DEBUG] = "debug",
};

char *log_escape(const void *bytes, size_t length, char *out, size_t size)
{
	const unsigned char *p = bytes;
	char *to = out;

	/* vis(3) writes at most four characters and a NUL for one byte. */
	for (size_t i = 0; i < length && (size_t)(to - out) + 5 < size; i++) {
		if (p[i] == '\t' || (p[i] >= 0x20 && p[i] < 0x7f && p[i] != '\\'))
			*to++ = (char)p[i];
		else
			to = vis(to, p[i], VIS_CSTYLE | VIS_OCTAL | VIS_NL, 0);
	}
	*to = '\0';
	return out;
}

/* A pipe whose reader sleeps would hold the whole master: look first. */
static bool write_line(int fd, const char *line, size_t length)
{
	struct pollfd ready = { .fd = fd, .events = POLLOUT };

	if (poll(&ready, 1, 0) != 1 || (ready.revents & POLLOUT) == 0)
		return false;
	return write(fd, line, length) == (ssize_t)length;
}

int log_file_check(const char *path, struct err *err)
{
	return append_check(path, APPEND_ANY, err);
}

struct log_file *log_file_open(const char *path, struct err *err)
{
	struct log_file *file = calloc(1, sizeof(*file));

	if (file == NULL || (file->path = strdup(path)) == NULL) {
		free(file);
		err_set(err, EX_OSERR, "out of memory");
		return NULL;
	}
	file->fd = append_open(path, APPEND_ANY, err);
	if (file->fd < 0) {
		log_file_close(file);
		return NULL;
	}
	return file;
}

int log_file_reopen(struct log_file *file, struct err *err)
{
	int fd = append_open(file->path, APPEND_ANY, err);

	if (fd < 0)
		return -1;
	close(file->fd);
	file->fd = fd;
	return 0;
}

static void stamp(char *out, size_t size)
{
	struct timespec now;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &now);
	localtime_r(&now.tv_sec, &tm);
	size_t n = strftime(out, size, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(out + n, size - n, ".%03ld", now.tv_nsec / 1000000);
	n = strlen(out);
	strftime(out + n, size - n, "%z", &tm);
}

void log_file_line(struct log_file *file, const char *line)
{
	char when[64], text[LINE_SIZE + 128];
	int n;

	stamp(when, sizeof(when));
	if (file->lost > 0) {
		n = snprintf(text, sizeof(text),
			"%s %lu lines before this one could not be written\n", when, file->lost);
		if (write(file->fd, text, (size_t)n) == n)
			file->lost = 0;
	}
	n = snprintf(text, sizeof(text), "%s %s\n", when, line);
	if (n >= (int)sizeof(text)) {
		n = (int)sizeof(text) - 1;
		text[n - 1] = '\n';
	}
	ssize_t wrote = write(file->fd, text, (size_t)n);
	if (wrote == n)
		return;
	file->lost++;
	if (wrote > 0) /* a full disk cut the line: end it, so that the next one stands alone */
		(void)!write(file->fd, "\n", 1);
}

void log_file_close(struct log_file *file)
{
	if (file == NULL)
		return;
	if (file->fd >= 0)
		close(file->fd);
	free(file->path);
	free(file);
}

/* Our own description of a terminal or pipe, that does not block: setting that on the one we were
 * given would change it for others. A stopped terminal takes less than it promises. */
static void open_stderr(void)
{
	struct stat st;

	if (sink.stderr_fd >= 0 || fstat(STDERR_FILENO, &st) != 0 ||
		(!S_ISFIFO(st.st_mode) && !S_ISCHR(st.st_mode)))
		return;
	sink.stderr_fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
}

int log_open(const char *to, int level, struct err *err)
{
	struct log_file *file = NULL;
	bool use_syslog = strcmp(to, "syslog") == 0;

	if (!use_syslog && strcmp(to, "stderr") != 0) {
		file = log_file_open(to, err);
		if (file == NULL)
			return -1;
	}
	log_file_close(sink.file);
	sink.file = file;
	sink.use_syslog = use_syslog;
	sink.level = level;
	if (file == NULL && !use_syslog)
		open_stderr();
	return 0;
}

int log_reopen(struct err *err)
{
	return sink.file == NULL ? 0 : log_file_reopen(sink.file, err);
}

static void to_syslog(int level, const char *line)
{
	char text[64];

	snprintf(text, sizeof(text), "%lu lines before this one could not be written", sink.lost);
	if (sink.lost > 0 && syslogd_send(LOG_WARNING, text))
		sink.lost = 0;
	if (!syslogd_send(level, line))
		sink.lost++;
}

static void to_stderr(const char *line)
{
	int fd = sink.stderr_fd >= 0 ? sink.stderr_fd : STDERR_FILENO;
	char text[LINE_SIZE + 64];

	if (sink.lost > 0) {
		int n = snprintf(text, sizeof(text),
			"preforkd: %lu lines before this one could not be written\n", sink.lost);
		if (write_line(fd, text, (size_t)n))
			sink.lost = 0;
	}
	int n = snprintf(text, sizeof(text), "preforkd: %s\n", line);
	if (n >= (int)sizeof(text)) {
		n = (int)sizeof(text) - 1;
		text[n - 1] = '\n';
	}
	if (!write_line(fd, text, (size_t)n))
		sink.lost++;
}

void log_tap(log_listener listener)
{
	sink.tap = listener;
}

static void __attribute__((format(printf, 3, 0)))
say(int level, bool news, const char *fmt, va_list ap)
{
	char line[LINE_SIZE], leveled[LINE_SIZE + 16];

	news = news && sink.tap != NULL && level <= LOG_NOTICE;
	if (level > sink.level && !news)
		return;
	vsnprintf(line, sizeof(line), fmt, ap);
	if (news)
		sink.tap(level, line);
	if (level > sink.level)
		return;
	if (sink.use_syslog) {
		to_syslog(level, line);
	} else if (sink.file != NULL) {
		snprintf(leveled, sizeof(leveled), "%s: %s", level_names[level], line);
		log_file_line(sink.file, leveled);
	} else {
		to_stderr(line);
	}
}

#define DEFINE_LEVEL(name, level, news)       \
	void log_##name(const char *fmt, ...) \
	{                                     \
		va_list ap;                   \
		va_start(ap, fmt);            \
		say(level, news, fmt, ap);    \
		va_end(ap);                   \
	}

DEFINE_LEVEL(err, LOG_ERR, true)
DEFINE_LEVEL(warning, LOG_WARNING, true)
DEFINE_LEVEL(notice, LOG_NOTICE, true)
DEFINE_LEVEL(info, LOG_INFO, true)
DEFINE_LEVEL(debug, LOG_DEBUG, true)
DEFINE_LEVEL(output, LOG_NOTICE, false)
