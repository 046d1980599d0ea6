/*
 * answer: what is asked of a counter, over FastCGI or over HTTP, and what it says.
 *
 * Makes no system call. An answer is the text "NUMBER\n", where all processes of the server share
 * the counter, or "PID NUMBER\n", where each has its own.
 */
#ifndef PREFORKD_BENCH_ANSWER_H
#define PREFORKD_BENCH_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ANSWER_MAX 4096

enum answer_kind { ANSWER_FCGI, ANSWER_HTTP };
enum answer_state { ANSWER_MORE, ANSWER_WHOLE, ANSWER_WRONG };

struct answer {
	enum answer_kind kind;
	char data[ANSWER_MAX + 1]; /* as received, but for the records that were taken out */
	char text[ANSWER_MAX + 1]; /* FastCGI: what was in FCGI_STDOUT */
	size_t data_length, text_length;
	uint64_t pid, number; /* of a whole answer; pid 0: none was given */
	const char *why;      /* of a wrong one */
};

/* The bytes of a request, how many. target: SCRIPT_FILENAME, or the path of the URL. */
size_t answer_request(enum answer_kind kind, const char *target, bool keep, char *out, size_t size);
/* Gets ready for the next. */
void answer_clear(struct answer *answer);
/* After data has grown. */
enum answer_state answer_read(struct answer *answer);

#endif
