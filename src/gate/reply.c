/*
 * reply: headers that every answer has, and a body that lives as long as somebody reads it.
 */
#include "gate/reply.h"

#include <event2/buffer.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gate/conns.h"
#include "gate/report.h"

struct body {
	char *text;
	size_t length;
	unsigned users;
};

struct body *reply_body(char *text)
{
	struct body *body = text == NULL ? NULL : malloc(sizeof(*body));

	if (body == NULL) {
		free(text);
		return NULL;
	}
	*body = (struct body){ .text = text, .length = strlen(text), .users = 1 };
	return body;
}

void reply_drop(struct body *body)
{
	if (body == NULL || --body->users > 0)
		return;
	free(body->text);
	free(body);
}

static void on_taken(const void *bytes, size_t length, void *arg)
{
	(void)bytes, (void)length;
	reply_drop(arg);
}

static const char *phrase(int code)
{
	return code == 429 ? "Too Many Requests" : code == 414 ? "URI Too Long" : NULL;
}

static void add_headers(struct evhttp_request *request, const char *type, const struct body *body)
{
	struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
	char length[32];

	snprintf(length, sizeof(length), "%zu", body != NULL ? body->length : 0);
	evhttp_add_header(headers, "Content-Type", type);
	evhttp_add_header(headers, "Content-Length", length);
	evhttp_add_header(headers, "Cache-Control", "no-store");
	evhttp_add_header(headers, "X-Content-Type-Options", "nosniff");
}

void reply_send(struct conns *conns, struct evhttp_request *request, int code, const char *type,
	struct body *body)
{
	struct evbuffer *out = evbuffer_new();
	bool wanted = evhttp_request_get_command(request) != EVHTTP_REQ_HEAD;

	add_headers(request, type, body);
	if (body == NULL)
		code = HTTP_SERVUNAVAIL;
	else if (wanted && out != NULL &&
		 evbuffer_add_reference(out, body->text, body->length, on_taken, body) == 0)
		body->users++;
	conns_answered(conns, request);
	evhttp_send_reply(request, code, phrase(code), out);
	if (out != NULL)
		evbuffer_free(out);
}

void reply_answer(
	struct conns *conns, struct evhttp_request *request, int code, const char *message)
{
	struct body *body = reply_body(report_answer(code == HTTP_OK, message));

	reply_send(conns, request, code, "application/json", body);
	reply_drop(body);
}
