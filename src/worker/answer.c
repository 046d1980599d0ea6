/*
 * answer: the head of a CGI response, RFC 3875 section 6. Sections below are of that.
 */
#include "worker/answer.h"

#include <string.h>

#define STATUS "Status:"
#define LOCATION "Location:"

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* 6.3.3; only the first counts. */
static void take_status(struct answer *a)
{
	const char *p = a->line + sizeof(STATUS) - 1, *end = a->line + a->line_length;

	while (p < end && (*p == ' ' || *p == '\t'))
		p++;
	if (a->status == 0 && end - p >= 3 && p[0] >= '1' && is_digit(p[0]) && is_digit(p[1]) &&
		is_digit(p[2]))
		a->status = (unsigned)(100 * (p[0] - '0') + 10 * (p[1] - '0') + p[2] - '0');
}

/* Of ASCII, whatever the application's locale is. */
static int lower(char c)
{
	return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c;
}

static bool begins_with(const struct answer *a, const char *name)
{
	size_t length = strlen(name);

	if (a->line_length < length)
		return false;
	for (size_t i = 0; i < length; i++)
		if (lower(a->line[i]) != lower(name[i]))
			return false;
	return true;
}

static void end_line(struct answer *a)
{
	if (a->line_length == 0) {
		a->head_over = true;
		if (a->status == 0) /* 6.3.2: with a location alone the server sends 302 */
			a->status = a->moves ? 302 : 200;
	} else if (begins_with(a, STATUS)) {
		take_status(a);
	} else if (begins_with(a, LOCATION)) {
		a->moves = true;
	}
	a->line_length = 0;
}

/* The begin of a line, or what came of it. */
static void keep(struct answer *a, const unsigned char *bytes, size_t length)
{
	for (size_t i = 0; i < length && a->line_length < sizeof(a->line); i++)
		if (bytes[i] != '\r')
			a->line[a->line_length++] = (char)bytes[i];
}

void answer_take(struct answer *a, const unsigned char *bytes, size_t length)
{
	while (length > 0 && !a->head_over) {
		const unsigned char *end = memchr(bytes, '\n', length);
		size_t n = end != NULL ? (size_t)(end - bytes) : length;

		keep(a, bytes, n);
		if (end != NULL) {
			end_line(a);
			n++;
		}
		a->head += n;
		bytes += n;
		length -= n;
	}
}
