/*
 * A line of the access log. Whatever a client sends, and whatever format is configured, it is one
 * line that fits where logline_room() says; as text it is printable and has no quotes but those of
 * the format, as JSON it can be parsed.
 *
 * The input has a format, then parameters "NAME=VALUE", each with a NUL behind it.
 */
#include <jansson.h>

#include "common/err.h"
#include "common/logformat.h"
#include "fuzz.h"
#include "worker/logline.h"

#define PARAMS 32

static size_t count(const char *text, size_t length, char c)
{
	size_t n = 0;

	for (size_t i = 0; i < length; i++)
		n += text[i] == c;
	return n;
}

/* Those that stand in the format itself. */
static size_t count_literals(const struct logformat *format, char c)
{
	size_t n = 0;

	for (size_t i = 0; i < format->count; i++)
		if (format->steps[i].field == LOGFORMAT_LITERAL)
			n += count(format->steps[i].text, format->steps[i].length, c);
	return n;
}

/* A literal is what the administrator wrote, so only values are held to this. */
static void check_text(const struct logformat *format, const char *line, size_t length)
{
	size_t odd = 0, allowed = 0;

	MUST(count(line, length, '"') == count_literals(format, '"'));
	for (size_t i = 0; i + 1 < length; i++)
		odd += line[i] < ' ' || line[i] > '~';
	for (size_t i = 0; i < format->count; i++)
		for (size_t k = 0;
			format->steps[i].field == LOGFORMAT_LITERAL && k < format->steps[i].length;
			k++)
			allowed += format->steps[i].text[k] < ' ' || format->steps[i].text[k] > '~';
	MUST(odd == allowed);
}

static void check(const char *text, const struct logline *facts, int must_parse)
{
	struct err err;
	struct logformat *format = logformat_compile(text, &err);

	if (format == NULL)
		return;
	size_t room = logline_room(format);
	char *line = malloc(room);
	MUST(line != NULL);
	size_t length = logline_write(format, facts, line);
	MUST(length > 0 && length <= room && line[length - 1] == '\n');
	MUST(count(line, length, '\n') == count_literals(format, '\n') + 1);
	if (!format->json)
		check_text(format, line, length);
	if (must_parse) {
		json_error_t error;
		json_t *json = json_loadb(line, length, 0, &error);

		MUST(json != NULL);
		json_decref(json);
	}
	free(line);
	logformat_free(format);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *copy = malloc(size + 1), *params[PARAMS + 1] = { NULL };
	const char *format = copy;
	size_t n = 0;

	MUST(copy != NULL);
	if (size > 0)
		memcpy(copy, data, size);
	copy[size] = '\0';
	for (size_t at = strlen(copy) + 1; at < size && n < PARAMS; at += strlen(copy + at) + 1)
		params[n++] = copy + at;
	const struct logline facts = { .params = params,
		.pool = "www",
		.pid = 4711,
		.status = (unsigned)size % 600,
		.bytes_in = size * 1000003,
		.bytes = INT64_MAX - size,
		.us = size * 7919,
		.began_ms = 1700000000000 + size * 86400321,
		.offset = (int)(size % 48) * 1800 - 43200 };

	check(format, &facts, 0);
	check("combined", &facts, 0);
	check("json", &facts, 1);
	free(copy);
	return 0;
}
