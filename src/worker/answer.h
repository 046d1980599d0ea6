/*
 * answer: what an application's answer says of itself: its status, and where its body begins.
 *
 * Pure; takes the bytes as they are sent, however they are cut, and keeps the begin of one line.
 */
#ifndef PREFORKD_ANSWER_H
#define PREFORKD_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All zero: nothing has been written. */
struct answer {
	uint64_t head;   /* bytes before the body */
	unsigned status; /* 0: unknown until the head is over */
	bool head_over, moves;
	uint8_t line_length; /* of what is kept of the line */
	char line[24];
};

void answer_take(struct answer *answer, const unsigned char *bytes, size_t length);

#endif
