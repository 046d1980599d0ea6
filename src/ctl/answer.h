/*
 * answer: what the gate answers to a command, as a sentence and an exit code.
 */
#ifndef PREFORKD_CTL_ANSWER_H
#define PREFORKD_CTL_ANSWER_H

#include <stdio.h>

struct err;
struct wire_reply;

struct answer {
	int code;        /* exit code: 0 when it has happened */
	char text[1025]; /* printable ASCII */
};

void answer_read(const struct wire_reply *reply, struct answer *answer);
/* One of our own, for a failure on the way. */
void answer_fail(const struct err *err, struct answer *answer);

/* As JSON: {"ok": ..., "message": ...}. -1 without memory. */
int answer_print(const struct answer *answer, FILE *out);
/* Any JSON of the gate, indented, in ASCII. -1: it is none. */
int answer_print_json(const struct wire_reply *reply, FILE *out);

#endif
