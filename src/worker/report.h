/*
 * report: what a worker tells the master about its start, through the start pipe.
 */
#ifndef PREFORKD_REPORT_H
#define PREFORKD_REPORT_H

/* It waits for connections. Closes the pipe. */
void report_ready(int start_fd);
/* It cannot serve: the exit code it asks for, and one sentence. Ends the process. */
void report_failure(int start_fd, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4), noreturn));

#endif
