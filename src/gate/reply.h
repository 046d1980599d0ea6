/*
 * reply: sends one answer. Bodies are shared: many clients that ask at the same time cost one.
 */
#ifndef PREFORKD_REPLY_H
#define PREFORKD_REPLY_H

#include <stddef.h>

struct conns;
struct evhttp_request;

struct body;
/* Takes over text, which came from malloc(3). NULL, and text is freed, without memory; NULL of
 * NULL.
 */
struct body *reply_body(char *text);
void reply_drop(struct body *body);

/* With a body that the caller keeps; NULL: 503, for lack of memory. */
void reply_send(struct conns *conns, struct evhttp_request *request, int code, const char *type,
	struct body *body);
/* {"ok": ..., "message": ...} */
void reply_answer(
	struct conns *conns, struct evhttp_request *request, int code, const char *message);

#endif
