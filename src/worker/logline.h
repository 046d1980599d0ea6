/*
 * logline: one line of the access log, from the steps of its format and the facts of a request.
 *
 * Pure, allocates nothing, and is also called from a signal handler. Whatever bytes clients send,
 * a line stays one line, no value ends its quotes, and none is longer than LOGLINE_VALUE.
 */
#ifndef PREFORKD_LOGLINE_H
#define PREFORKD_LOGLINE_H

#include <stddef.h>
#include <stdint.h>

struct logformat;

#define LOGLINE_VALUE 4096 /* bytes of a client's value as it is written; the rest is cut off */

struct logline {
	char *const *params; /* NULL-terminated */
	const char *pool;
	unsigned pid;
	unsigned status;              /* 0: the answer had none */
	uint64_t bytes_in, bytes, us; /* received, of the answer's body, that it took */
	uint64_t began_ms;            /* since 1970 */
	int offset;                   /* of local time then: seconds east of UTC */
};

/* How long a line of this format can become, with its end. */
size_t logline_room(const struct logformat *format);
/* Writes a line, to where there is that much room; returns its length. */
size_t logline_write(const struct logformat *format, const struct logline *facts, char *to);

#endif
