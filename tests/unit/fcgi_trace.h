/*
 * Records, and what the reader makes of them as a line of text, however they are cut.
 */
#ifndef PREFORKD_TEST_FCGI_TRACE_H
#define PREFORKD_TEST_FCGI_TRACE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/fcgi.h"

#define BYTES 400000
#define TEXT 2000

struct bytes {
	uint8_t *at;
	size_t length;
};

static struct bytes input;
static uint8_t roles = 1; /* that are served */

static inline int make_room(void **unused)
{
	(void)unused;
	input.at = malloc(BYTES);
	return input.at != NULL ? 0 : -1;
}

static inline int free_room(void **unused)
{
	(void)unused;
	free(input.at);
	return 0;
}

static inline void put(const void *bytes, size_t length)
{
	assert_true(input.length + length <= BYTES);
	memcpy(input.at + input.length, bytes, length);
	input.length += length;
}

static inline void put_record(
	unsigned type, unsigned id, const void *content, size_t length, size_t padding)
{
	uint8_t header[FCGI_HEADER];
	static const uint8_t zeros[255];

	fcgi_put_header(header, (enum fcgi_type)type, (uint16_t)id, length);
	header[6] = (uint8_t)padding;
	put(header, sizeof(header));
	put(content, length);
	put(zeros, padding);
}

static inline void put_begin(unsigned id, unsigned role, unsigned flags)
{
	const uint8_t begin[8] = { (uint8_t)(role >> 8), (uint8_t)role, (uint8_t)flags };

	put_record(FCGI_BEGIN_REQUEST, id, begin, sizeof(begin), 0);
}

/* What happened, as text: "B1k" begin, with "a" or "f" of an authorizer or a filter, "P(..)"
 * parameters, "E" their end, "S(..)" body, "F" its end, "D(..)" data, "G" their end, "A" abort,
 * "R.." reply, "X.." refusal, "!" broken. Pieces of a stream are put together. */
static inline void note(char *out, const struct fcgi *f, const struct fcgi_event *event)
{
	static const char *const roles_short[] = { "?", "", "a", "f" };
	static const char kinds[] = "?BPESFDGARX!";
	size_t n = strlen(out);
	char kind = kinds[event->kind], last[2] = { n > 0 ? out[n - 1] : '\0' };

	assert_true(n + 2 * event->length + 20 < TEXT);
	if (event->kind == FCGI_BEGUN) {
		snprintf(out + n, TEXT - n, "B%u%s%s", f->id, roles_short[f->role],
			f->keep ? "k" : "");
		return;
	}
	if (event->kind != FCGI_PARAM_SOME && event->kind != FCGI_BODY_SOME &&
		event->kind != FCGI_DATA_SOME) {
		snprintf(out + n, TEXT - n, "%c", kind);
		for (size_t i = 0; i < event->length; i++)
			snprintf(out + strlen(out), TEXT - strlen(out), "%02x", event->bytes[i]);
		return;
	}
	if (last[0] == ')')
		out[--n] = '\0';
	else
		n += (size_t)snprintf(out + n, TEXT - n, "%c(", kind);
	memcpy(out + n, event->bytes, event->length);
	memcpy(out + n + event->length, ")", 2);
}

static inline bool feed(struct fcgi *f, const uint8_t *bytes, size_t length, char *out)
{
	struct fcgi_event event;

	for (size_t at = 0; at < length;) {
		at += fcgi_next(f, bytes + at, length - at, &event);
		if (event.kind != FCGI_MORE)
			note(out, f, &event);
		if (event.kind == FCGI_BROKEN)
			return false;
		/* so that several requests can follow each other */
		if (fcgi_is_read(f))
			fcgi_forget(f);
	}
	return true;
}

/* From memory of its own, so that the sanitizer sees a byte too many. */
static inline void cut(size_t a, size_t b, char *out)
{
	const size_t ends[] = { 0, a, b, input.length };
	struct fcgi f = { .max_conns = 1024, .max_reqs = 4, .roles = roles };

	out[0] = '\0';
	for (int i = 0; i < 3; i++) {
		size_t length = ends[i + 1] - ends[i];
		uint8_t *copy = malloc(length + 1);

		assert_non_null(copy);
		memcpy(copy, input.at + ends[i], length);
		bool whole = feed(&f, copy, length, out);
		free(copy);
		if (!whole)
			return;
	}
}

/* Every cut in two and in three, and byte by byte. */
static inline void expect(const char *events)
{
	char got[TEXT] = "";
	struct fcgi f = { .max_conns = 1024, .max_reqs = 4, .roles = roles };

	for (size_t i = 0; i < input.length && feed(&f, input.at + i, 1, got); i++)
		;
	assert_string_equal(got, events);
	for (size_t a = 0; a <= input.length; a++)
		for (size_t b = a; b <= input.length; b += input.length > 300 ? 97 : 1) {
			cut(a, b, got);
			assert_string_equal(got, events);
		}
	input.length = 0;
}

#endif
