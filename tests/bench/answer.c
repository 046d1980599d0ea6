/*
 * answer: FastCGI records and HTTP responses, as far as a counter's answers need it.
 */
#include "answer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum kind { BEGIN_REQUEST = 1, END_REQUEST = 3, PARAMS = 4, STDIN = 5, STDOUT = 6, STDERR = 7 };

struct record {
	unsigned char version, kind, id_high, id_low, length_high, length_low, padding, reserved;
};

static size_t add_record(
	char *out, size_t at, size_t size, enum kind kind, const void *content, size_t length)
{
	struct record head = { .version = 1,
		.kind = (unsigned char)kind,
		.id_low = 1,
		.length_high = (unsigned char)(length >> 8),
		.length_low = (unsigned char)(length & 0xff) };

	if (at + sizeof(head) + length > size)
		abort();
	memcpy(out + at, &head, sizeof(head));
	if (length > 0)
		memcpy(out + at + sizeof(head), content, length);
	return at + sizeof(head) + length;
}

/* What nginx sends for a simple page. */
static size_t make_params(const char *script, char *out, size_t size)
{
	const char *const params[][2] = { { "SCRIPT_FILENAME", script },
		{ "REQUEST_METHOD", "GET" }, { "QUERY_STRING", "" }, { "CONTENT_TYPE", "" },
		{ "CONTENT_LENGTH", "" }, { "SCRIPT_NAME", "/" }, { "REQUEST_URI", "/" },
		{ "DOCUMENT_URI", "/" }, { "SERVER_PROTOCOL", "HTTP/1.1" },
		{ "REQUEST_SCHEME", "http" }, { "GATEWAY_INTERFACE", "CGI/1.1" },
		{ "SERVER_SOFTWARE", "nginx/1.22.1" }, { "REMOTE_ADDR", "127.0.0.1" },
		{ "REMOTE_PORT", "40000" }, { "SERVER_ADDR", "127.0.0.1" },
		{ "SERVER_PORT", "8080" }, { "SERVER_NAME", "localhost" },
		{ "HTTP_HOST", "localhost" } };
	size_t n = 0;

	for (size_t i = 0; i < sizeof(params) / sizeof(params[0]); i++) {
		size_t name = strlen(params[i][0]), value = strlen(params[i][1]);

		if (value > 127 || n + 2 + name + value + 1 > size)
			abort();
		n += (size_t)snprintf(out + n, size - n, "%c%c%s%s", (int)name, (int)value,
			params[i][0], params[i][1]);
	}
	return n;
}

size_t answer_request(enum answer_kind kind, const char *target, bool keep, char *out, size_t size)
{
	unsigned char begin[8] = { 0, 1, keep ? 1 : 0 };
	char pairs[700];
	size_t n;

	if (kind == ANSWER_HTTP)
		return (size_t)snprintf(out, size, "GET %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n",
			target, keep ? "" : "Connection: close\r\n");
	n = add_record(out, 0, size, BEGIN_REQUEST, begin, sizeof(begin));
	n = add_record(out, n, size, PARAMS, pairs, make_params(target, pairs, sizeof(pairs)));
	n = add_record(out, n, size, PARAMS, NULL, 0);
	return add_record(out, n, size, STDIN, NULL, 0);
}

void answer_clear(struct answer *a)
{
	a->data_length = a->text_length = 0;
}

static enum answer_state wrong(struct answer *a, const char *why)
{
	a->why = why;
	return ANSWER_WRONG;
}

/* The body of an answer, from begin to end, where a NUL stands. */
static enum answer_state read_numbers(struct answer *a, const char *begin, const char *end)
{
	char *behind;

	a->pid = 0;
	a->number = strtoull(begin, &behind, 10);
	if (*behind == ' ') {
		a->pid = a->number;
		a->number = strtoull(behind + 1, &behind, 10);
	}
	if (a->number == 0 || strcmp(behind, "\n") != 0 || behind + 1 != end)
		return wrong(a, "the answer is no number");
	return ANSWER_WHOLE;
}

/* The value of a field of the header that ends at end; NULL: there is none. */
static const char *field(const char *header, const char *end, const char *name)
{
	size_t length = strlen(name);

	while (header < end) {
		if (strncasecmp(header, name, length) == 0 && header[length] == ':')
			return header + length + 1 + strspn(header + length + 1, " ");
		header = strstr(header, "\r\n") + 2;
	}
	return NULL;
}

/* A CGI answer: header, empty line, body. */
static enum answer_state read_text(struct answer *a)
{
	a->text[a->text_length] = '\0';
	const char *end = strstr(a->text, "\r\n\r\n");
	const char *type, *status;

	if (end == NULL)
		return wrong(a, "the answer has no header");
	type = field(a->text, end + 2, "Content-Type");
	status = field(a->text, end + 2, "Status");
	if (type == NULL || strncmp(type, "text/plain", 10) != 0)
		return wrong(a, "the answer is not of type text/plain");
	if (status != NULL && strncmp(status, "200 ", 4) != 0)
		return wrong(a, "the status is not 200");
	return read_numbers(a, end + 4, a->text + a->text_length);
}

static void take_out(struct answer *a, size_t length)
{
	memmove(a->data, a->data + length, a->data_length - length);
	a->data_length -= length;
}

static enum answer_state read_records(struct answer *a)
{
	struct record head;

	while (a->data_length >= sizeof(head)) {
		memcpy(&head, a->data, sizeof(head));
		size_t length = (size_t)head.length_high << 8 | head.length_low;
		size_t whole = sizeof(head) + length + head.padding;
		const char *content = a->data + sizeof(head);

		if (head.version != 1 || head.id_high != 0 || head.id_low != 1)
			return wrong(a, "what was received is no record of this request");
		if (a->data_length < whole)
			break;
		if (head.kind == END_REQUEST) {
			if (length != 8 || memcmp(content, "\0\0\0\0\0", 5) != 0)
				return wrong(a, "the request has failed");
			if (a->data_length != whole)
				return wrong(a, "bytes follow the end of the request");
			return read_text(a);
		}
		if (head.kind == STDOUT && a->text_length + length <= ANSWER_MAX) {
			memcpy(a->text + a->text_length, content, length);
			a->text_length += length;
		} else if (head.kind != STDERR || length > 0) {
			return wrong(a, "a record that a counter does not send");
		}
		take_out(a, whole);
	}
	return a->data_length == ANSWER_MAX ? wrong(a, "the answer is too long") : ANSWER_MORE;
}

/* One chunk and the last one: the answer is short. */
static enum answer_state read_chunks(struct answer *a, char *body)
{
	char *content;
	size_t length = strtoul(body, &content, 16),
	       rest = a->data_length - (size_t)(body - a->data);

	if (rest < 5 || strcmp(a->data + a->data_length - 5, "0\r\n\r\n") != 0)
		return ANSWER_MORE;
	content += 2;
	if ((size_t)(content - body) + length + 2 + 5 != rest)
		return wrong(a, "the chunks are not as expected");
	content[length] = '\0';
	return read_numbers(a, content, content + length);
}

static enum answer_state read_http(struct answer *a)
{
	a->data[a->data_length] = '\0';
	char *end = strstr(a->data, "\r\n\r\n");
	const char *length;

	if (end == NULL)
		return a->data_length == ANSWER_MAX ? wrong(a, "the header is too long")
						    : ANSWER_MORE;
	if (strncmp(a->data, "HTTP/1.1 200 ", 13) != 0)
		return wrong(a, "the status is not 200");
	length = field(a->data, end + 2, "Content-Length");
	if (length == NULL)
		return read_chunks(a, end + 4);
	size_t expected = strtoul(length, NULL, 10),
	       have = a->data_length - (size_t)(end + 4 - a->data);
	if (have > expected)
		return wrong(a, "bytes follow the end of the answer");
	return have < expected ? ANSWER_MORE : read_numbers(a, end + 4, end + 4 + expected);
}

enum answer_state answer_read(struct answer *a)
{
	return a->kind == ANSWER_HTTP ? read_http(a) : read_records(a);
}
