/*
 * report: one message, one write. The master takes it as foreign bytes.
 */
#include "worker/report.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/job.h"

void report_ready(int start_fd)
{
	char ready = JOB_READY;

	(void)!write(start_fd, &ready, 1);
	close(start_fd);
}

void report_failure(int start_fd, int code, const char *fmt, ...)
{
	char message[JOB_REPORT_MAX] = { JOB_FAILED, (char)code };
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message + 2, sizeof(message) - 2, fmt, ap);
	va_end(ap);
	(void)!write(start_fd, message, 2 + strlen(message + 2));
	_exit(code);
}
