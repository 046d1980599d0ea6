/*
 * conn: bytes to a request head.
 *
 * A head that arrives in one piece costs one recv(2) and no memory but that of the parameters. One
 * that arrives in pieces is kept twice: parsed, and as it came, for a sibling that could have it.
 */
#include "worker/conn.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD_FIRST 4096
#define LINGER_BYTES (64 << 20)
#define TOO_LARGE                                         \
	"Status: 431 Request Header Fields Too Large\r\n" \
	"Content-Type: text/plain\r\n\r\n"                \
	"the request has more parameters than max-head allows\n"

/* The last one that was freed, for the next: most have one request, and come one by one. Only the
 * thread that serves makes and frees them. */
static struct conn *spare;

/* All zero, but that it may have room for a head. */
static struct conn *get_blank(void)
{
	struct conn *c = spare;

	if (c == NULL)
		return calloc(1, sizeof(*c));
	spare = NULL;
	*c = (struct conn){ .head = c->head, .head_room = c->head_room };
	return c;
}

struct conn *conn_new(int fd, unsigned max_conns, unsigned max_reqs, unsigned roles)
{
	struct conn *c = get_blank();

	if (c == NULL)
		return NULL;
	c->fd = fd;
	c->list = CONN_NOWHERE;
	c->fcgi.max_conns = max_conns;
	c->fcgi.max_reqs = max_reqs;
	c->fcgi.roles = (uint8_t)roles;
	return c;
}

void conn_close(struct conn *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

void conn_free(struct conn *c)
{
	conn_close(c);
	free(c->raw);
	if (spare == NULL && c->head_room <= HEAD_FIRST) {
		spare = c;
		return;
	}
	free(c->head);
	free(c);
}

bool conn_is_idle(const struct conn *c)
{
	return c->raw_length == 0 && !c->raw_lost && fcgi_is_fresh(&c->fcgi);
}

bool conn_is_movable(const struct conn *c)
{
	return !c->raw_lost && c->raw_length <= CONN_RAW;
}

static void drop_raw(struct conn *c)
{
	free(c->raw);
	c->raw = NULL;
	c->raw_length = 0;
	c->raw_unread = false;
}

static bool add_raw(struct conn *c, const uint8_t *bytes, size_t length)
{
	uint8_t *raw = realloc(c->raw, c->raw_length + length);

	if (raw == NULL)
		return false;
	memcpy(raw + c->raw_length, bytes, length);
	c->raw = raw;
	c->raw_length += length;
	return true;
}

bool conn_push(struct conn *c, const uint8_t *bytes, size_t length)
{
	if (length == 0)
		return true;
	c->raw_unread = length <= CONN_INPUT && add_raw(c, bytes, length);
	return c->raw_unread;
}

/* The head is not whole: notes how it came. */
static void note_raw(struct conn *c, const uint8_t *bytes, size_t length)
{
	if (fcgi_is_fresh(&c->fcgi)) {
		c->raw_lost = false;
		drop_raw(c);
	} else if (!c->raw_lost &&
		   (c->raw_length + length > CONN_RAW || !add_raw(c, bytes, length))) {
		c->raw_lost = true;
		drop_raw(c);
	}
}

bool conn_next(struct conn *c, struct conn_input *input)
{
	fcgi_forget(&c->fcgi);
	c->head_length = 0;
	c->head_due = 0;
	drop_raw(c);
	c->raw_lost = !fcgi_is_fresh(&c->fcgi);
	size_t left = input->length - input->at;
	const uint8_t *bytes = input->bytes + input->at;
	input->at = input->length = 0;
	return conn_push(c, bytes, left);
}

/* Short answers, to a client that should have room for them. */
static bool answer(const struct conn *c, const uint8_t *bytes, size_t length)
{
	return send(c->fd, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)length;
}

static enum conn_state refuse_head(const struct conn *c, size_t max_head)
{
	uint8_t bytes[sizeof(TOO_LARGE) + FCGI_ANSWER_MORE];
	size_t length = fcgi_put_answer(bytes, c->fcgi.id, TOO_LARGE, sizeof(TOO_LARGE) - 1, 0);

	fprintf(stderr,
		"a request with more than %zu bytes of parameters was refused, see max-head\n",
		max_head);
	return answer(c, bytes, length) ? CONN_SHUT : CONN_OVER;
}

/* And room for the NUL that ends the last parameter. */
static bool add_head(struct conn *c, const uint8_t *bytes, size_t length)
{
	size_t room = c->head_room > 0 ? c->head_room : HEAD_FIRST;

	while (room <= c->head_length + length)
		room *= 2;
	if (room != c->head_room) {
		uint8_t *head = realloc(c->head, room);

		if (head == NULL)
			return false;
		c->head = head;
		c->head_room = room;
	}
	memcpy(c->head + c->head_length, bytes, length);
	c->head_length += length;
	return true;
}

/* 5.4: it wanted an answer to something that it did not say. */
static enum conn_state end_aborted(struct conn *c)
{
	uint8_t end[FCGI_END_SIZE];
	bool keep = c->fcgi.keep;

	c->raw_lost = true;
	fcgi_put_end(end, c->fcgi.id, 0, FCGI_REQUEST_COMPLETE);
	fcgi_forget(&c->fcgi);
	c->head_length = 0;
	if (!answer(c, end, sizeof(end)))
		return CONN_OVER;
	return keep ? CONN_WAITS : CONN_SHUT;
}

static enum conn_state take_event(struct conn *c, const struct fcgi_event *event, size_t max_head)
{
	switch (event->kind) {
	case FCGI_PARAM_SOME:
		if (event->length > max_head - c->head_length)
			return refuse_head(c, max_head);
		return add_head(c, event->bytes, event->length) ? CONN_WAITS : CONN_OVER;
	case FCGI_PARAM_END:
		return CONN_READY;
	case FCGI_REPLY:
		c->raw_lost = true; /* a sibling would say it again */
		return answer(c, event->bytes, event->length) ? CONN_WAITS : CONN_OVER;
	case FCGI_REFUSED:
		return answer(c, event->bytes, event->length) ? CONN_SHUT : CONN_OVER;
	case FCGI_ABORTED:
		return end_aborted(c);
	case FCGI_MORE:
	case FCGI_BEGUN:
		return CONN_WAITS;
	case FCGI_BODY_SOME:
	case FCGI_BODY_END:
	case FCGI_DATA_SOME:
	case FCGI_DATA_END:
	case FCGI_BROKEN:
		break;
	}
	return CONN_OVER;
}

/* False: nothing came; *state says what that means. */
static bool fill_input(
	struct conn *c, struct conn_input *input, bool patient, enum conn_state *state)
{
	input->at = input->length = 0;
	if (c->raw_unread) {
		input->length = c->raw_length;
		memcpy(input->bytes, c->raw, c->raw_length);
		drop_raw(c);
		return true;
	}
	ssize_t n = recv(c->fd, input->bytes, sizeof(input->bytes), patient ? 0 : MSG_DONTWAIT);
	if (n <= 0) {
		*state = n < 0 && (errno == EAGAIN || errno == EINTR) ? CONN_WAITS : CONN_OVER;
		return false;
	}
	input->length = (size_t)n;
	return true;
}

enum conn_state conn_read(struct conn *c, struct conn_input *input, size_t max_head, bool patient)
{
	enum conn_state state = CONN_WAITS;
	struct fcgi_event event;

	if (!fill_input(c, input, patient, &state))
		return state;
	while (input->at < input->length && state == CONN_WAITS) {
		input->at += fcgi_next(
			&c->fcgi, input->bytes + input->at, input->length - input->at, &event);
		state = take_event(c, &event, max_head);
	}
	if (state == CONN_WAITS)
		note_raw(c, input->bytes, input->length);
	return state;
}

bool conn_linger(struct conn *c, struct conn_input *input)
{
	ssize_t n;

	while ((n = recv(c->fd, input->bytes, sizeof(input->bytes), MSG_DONTWAIT)) > 0)
		if ((c->lingered += (size_t)n) > LINGER_BYTES)
			return false;
	return n < 0 && (errno == EAGAIN || errno == EINTR);
}
