/*
 * log: levels, sinks (stderr, syslog, a file), reopening, and the escaping of foreign bytes.
 *
 * The one mutable global of the project lives in log.c. Writing never fails upwards and never waits
 * for a pipe that nobody reads: what cannot be written is counted and said later.
 */
#ifndef PREFORKD_LOG_H
#define PREFORKD_LOG_H

#include <stddef.h>
#include <stdint.h>
#include <syslog.h>

struct err;

/* Until log_open() everything goes to stderr, as "preforkd: sentence". */
int log_open(const char *to, int level, struct err *err);
/* -1 when a file sink cannot be opened again; the old one then stays in use. */
int log_reopen(struct err *err);

void log_err(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_notice(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* What a worker has printed: as log_notice(), but it is no news of the daemon's. */
void log_output(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* From now on gets every line of level notice and above too, whatever is logged. */
typedef void (*log_listener)(int level, const char *line);
void log_tap(log_listener listener);

/* Foreign bytes as one printable line: control and non-ASCII bytes become \ooo or \n, a
 * backslash is doubled; a tab stays. Always terminates out; returns out. */
char *log_escape(const void *bytes, size_t length, char *out, size_t size);

/* A file of lines that others may rotate: opened for appending, never through a symbolic link,
 * 0640. Used for log and for a pool's output. */
struct log_file;
struct log_file *log_file_open(const char *path, struct err *err);
/* Could it be opened? Makes nothing. */
int log_file_check(const char *path, struct err *err);
int log_file_reopen(struct log_file *file, struct err *err);
void log_file_line(struct log_file *file, const char *line);
void log_file_close(struct log_file *file);

#endif
