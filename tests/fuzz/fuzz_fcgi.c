/*
 * The record layer. Every split of the input gives the same events.
 *
 * The input is read byte by byte, and the state after each byte is kept, with a trace of what has
 * happened so far. Then pieces are read from a kept state on: the trace must go on in the same way,
 * and end in the state that is kept for that place. What holds for every piece holds for every row
 * of pieces, that is for every split; of a longer input a choice of pieces is read.
 *
 * The first byte says what the reader is like: who ends a request when, and who stops where.
 */
#include <stdbool.h>

#include "fuzz.h"
#include "worker/fcgi.h"

#define INPUT_MAX 4096
#define TRACE_MAX (INPUT_MAX * 32)
#define PIECES_WHOLE 96 /* bytes of input of which every piece is read */
#define STARTS 48       /* of longer ones */

enum manner {
	FORGETS_AT_HEAD = 1,
	FORGETS_AT_ABORT = 2,
	SERVES_ALL_ROLES = 4,
	FORGETS_DATA = 8,      /* of a filter, and begins the next request before it */
	KEEPS_AUTHORIZED = 16, /* an authorizer is still in hand when its head is whole */
	SERVES_NO_RESPONDER = 32,
};

struct reader {
	size_t head; /* bytes of parameters of the request in hand */
	struct fcgi fcgi;
	bool in_data; /* the body of the request has ended */
	bool stopped; /* the connection is to be closed */
};

static struct reader after[INPUT_MAX + 1];
static size_t trace_end[INPUT_MAX + 1]; /* of the trace, after so many bytes */
static uint8_t trace[TRACE_MAX], head[INPUT_MAX];
static unsigned manner;

static void write_trace(size_t *at, const void *bytes, size_t length)
{
	MUST(*at + length <= TRACE_MAX);
	if (length > 0)
		memcpy(trace + *at, bytes, length);
	*at += length;
}

/* Must be what has been traced there. */
static void check_trace(size_t *at, const void *bytes, size_t length)
{
	MUST(*at + length <= TRACE_MAX);
	MUST(length == 0 || memcmp(trace + *at, bytes, length) == 0);
	*at += length;
}

typedef void note(size_t *at, const void *bytes, size_t length);

/* The content of a stream byte by byte: it comes in other pieces. */
static void note_event(note *to, size_t *at, const struct fcgi *f, const struct fcgi_event *e)
{
	const uint8_t more[] = { (uint8_t)e->kind, (uint8_t)(f->id >> 8), (uint8_t)f->id, f->keep,
		f->role, (uint8_t)e->length };

	if (e->kind == FCGI_PARAM_SOME || e->kind == FCGI_BODY_SOME || e->kind == FCGI_DATA_SOME) {
		for (size_t i = 0; i < e->length; i++) {
			to(at, more, 1);
			to(at, e->bytes + i, 1);
		}
	} else if (e->kind != FCGI_MORE) {
		to(at, more, sizeof(more));
		to(at, e->bytes, e->length);
	}
}

/* Strings that lie in what was given, one behind the other, each with its "=". */
static void check_pairs(const uint8_t *bytes, size_t length)
{
	uint8_t *copy = malloc(length + 1);
	char **list = calloc(fcgi_most_pairs(length) + 1, sizeof(*list));

	MUST(copy != NULL && list != NULL);
	memcpy(copy, bytes, length);
	int count = fcgi_split_pairs(copy, length, list);
	const char *begin = (const char *)copy, *end = begin + length;
	for (int i = 0; i < count; i++) {
		MUST(list[i] > begin && list[i] < end);
		begin = memchr(list[i], '\0', (size_t)(end + 1 - list[i]));
		MUST(begin != NULL && memchr(list[i], '=', (size_t)(end - list[i])) != NULL);
	}
	MUST(count < 0 || list[count] == NULL);
	free(list);
	free(copy);
}

/* One behind the other, and nothing else. */
static void check_records(const uint8_t *bytes, size_t length)
{
	MUST(length >= FCGI_HEADER && length <= FCGI_REPLY_MAX);
	for (size_t at = 0, whole; at < length; at += whole) {
		MUST(length - at >= FCGI_HEADER && bytes[at] == 1);
		whole = FCGI_HEADER + (size_t)(bytes[at + 4] << 8 | bytes[at + 5]);
		MUST(whole <= length - at);
	}
}

/* What does not depend on how it was cut. */
static void check_event(struct reader *r, const struct fcgi_event *e)
{
	switch (e->kind) {
	case FCGI_BEGUN:
		MUST(r->fcgi.role >= 1 && (r->fcgi.roles & 1 << (r->fcgi.role - 1)) != 0);
		r->head = 0;
		r->in_data = false;
		break;
	case FCGI_BODY_SOME:
	case FCGI_BODY_END:
		MUST(r->fcgi.role != FCGI_AUTHORIZER && !r->in_data);
		r->in_data = e->kind == FCGI_BODY_END;
		break;
	case FCGI_DATA_SOME:
	case FCGI_DATA_END:
		MUST(r->fcgi.role == FCGI_FILTER && r->in_data);
		MUST(fcgi_is_read(&r->fcgi) == (e->kind == FCGI_DATA_END));
		break;
	case FCGI_PARAM_SOME:
		MUST(r->head + e->length <= sizeof(head));
		memcpy(head + r->head, e->bytes, e->length);
		r->head += e->length;
		break;
	case FCGI_PARAM_END:
		check_pairs(head, r->head);
		break;
	case FCGI_REPLY:
	case FCGI_REFUSED:
		check_records(e->bytes, e->length);
		break;
	default:
		break;
	}
}

static bool forgets(const struct fcgi *f, const struct fcgi_event *e)
{
	switch (e->kind) {
	case FCGI_PARAM_END:
		return (manner & FORGETS_AT_HEAD) != 0 ||
		       (f->role == FCGI_AUTHORIZER && (manner & KEEPS_AUTHORIZED) == 0);
	case FCGI_BODY_END:
		return f->role != FCGI_FILTER || (manner & FORGETS_DATA) != 0;
	case FCGI_DATA_END:
		return true;
	case FCGI_ABORTED:
		return (manner & FORGETS_AT_ABORT) != 0;
	default:
		return false;
	}
}

static void react(struct reader *r, const struct fcgi_event *e)
{
	if (e->kind == FCGI_BROKEN || e->kind == FCGI_REFUSED)
		r->stopped = true;
	if (forgets(&r->fcgi, e))
		fcgi_forget(&r->fcgi);
}

static void feed(struct reader *r, const uint8_t *bytes, size_t length, note *to, size_t *at)
{
	for (size_t used = 0; used < length && !r->stopped;) {
		struct fcgi_event event;
		size_t n = fcgi_next(&r->fcgi, bytes + used, length - used, &event);

		MUST(n > 0 && n <= length - used);
		MUST(event.kind != FCGI_MORE || n == length - used);
		MUST(fcgi_rest(&r->fcgi) <= FCGI_CONTENT_MAX + 255);
		MUST(!fcgi_is_fresh(&r->fcgi) || fcgi_rest(&r->fcgi) == 0);
		note_event(to, at, &r->fcgi, &event);
		if (to == write_trace)
			check_event(r, &event);
		react(r, &event);
		used += n;
	}
}

/* Both began as copies of one, so that what lies between the members is the same. */
static bool same(const void *a, const void *b, size_t size)
{
	return memcmp(a, b, size) == 0;
}

static void read_piece(const uint8_t *bytes, size_t from, size_t end)
{
	struct reader r = after[from];
	size_t at = trace_end[from];
	uint8_t *copy = fuzz_copy(bytes + from, end - from);

	feed(&r, copy, end - from, check_trace, &at);
	free(copy);
	MUST(at == trace_end[end]);
	MUST(same(&r.fcgi, &after[end].fcgi, sizeof(r.fcgi)));
	MUST(r.stopped == after[end].stopped);
}

static void read_pieces(const uint8_t *bytes, size_t length)
{
	size_t step = length <= PIECES_WHOLE ? 1 : length / STARTS + 1;

	for (size_t from = 0; from < length; from += step) {
		for (size_t end = from + 1; end < length;
			end += length <= PIECES_WHOLE ? 1 : 1 + (end - from) / 2)
			read_piece(bytes, from, end);
		read_piece(bytes, from, length);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t at = 0;

	if (size < 2 || size > INPUT_MAX)
		return 0;
	manner = *data++;
	size--;
	memset(&after[0], 0, sizeof(after[0]));
	after[0].fcgi.max_conns = UINT32_MAX;
	after[0].fcgi.max_reqs = 4;
	after[0].fcgi.roles = (manner & SERVES_ALL_ROLES) == 0      ? 1
			      : (manner & SERVES_NO_RESPONDER) == 0 ? 7
								    : 6;
	for (size_t i = 0; i < size; i++) {
		uint8_t *byte = fuzz_copy(data + i, 1);

		after[i + 1] = after[i];
		feed(&after[i + 1], byte, 1, write_trace, &at);
		trace_end[i + 1] = at;
		free(byte);
	}
	read_pieces(data, size);
	return 0;
}
