/*
 * fcgi: the state machine. Section numbers are those of the FastCGI specification 1.0.
 *
 * Trusts no length: all arithmetic is on what is left of what was given. Never waits for a whole
 * record, so that no record can make it keep more than a few bytes.
 */
#include "worker/fcgi.h"

#include <assert.h>
#include <string.h>

#define VERSION 1
#define KEEP_CONN 1
#define LONG_LENGTH 0x80u

enum stage { STAGE_NONE, STAGE_PARAMS, STAGE_BODY, STAGE_DATA, STAGE_READ };
enum use { USE_SKIP, USE_BEGIN, USE_PARAMS, USE_BODY, USE_DATA, USE_ASK, USE_UNKNOWN };
enum ask_step { ASK_NAME_LENGTH, ASK_VALUE_LENGTH, ASK_NAME, ASK_VALUE };

/* What FCGI_GET_VALUES can ask for (4.1). */
static const char *const values[] = { "FCGI_MAX_CONNS", "FCGI_MAX_REQS", "FCGI_MPXS_CONNS" };
#define VALUES (sizeof(values) / sizeof(values[0]))
#define DIGITS 10
#define REFUSAL "Status: 500 Internal Server Error\r\n\r\n"

void fcgi_put_header(uint8_t out[FCGI_HEADER], enum fcgi_type type, uint16_t id, size_t content)
{
	out[0] = VERSION;
	out[1] = (uint8_t)type;
	out[2] = (uint8_t)(id >> 8);
	out[3] = (uint8_t)id;
	out[4] = (uint8_t)(content >> 8);
	out[5] = (uint8_t)content;
	out[6] = out[7] = 0;
}

void fcgi_put_end(
	uint8_t out[FCGI_END_SIZE], uint16_t id, uint32_t app_status, enum fcgi_status status)
{
	fcgi_put_header(out, FCGI_END_REQUEST, id, 8);
	memset(out + FCGI_HEADER, 0, 8);
	for (unsigned i = 0; i < 4; i++)
		out[FCGI_HEADER + i] = (uint8_t)(app_status >> (24 - 8 * i));
	out[FCGI_HEADER + 4] = (uint8_t)status;
}

size_t fcgi_put_answer(
	uint8_t *out, uint16_t id, const char *text, size_t length, uint32_t app_status)
{
	uint8_t *end = out + FCGI_HEADER + length;

	fcgi_put_header(out, FCGI_STDOUT, id, length);
	memcpy(out + FCGI_HEADER, text, length);
	fcgi_put_header(end, FCGI_STDOUT, id, 0);
	fcgi_put_end(end + FCGI_HEADER, id, app_status, FCGI_REQUEST_COMPLETE);
	return length + FCGI_ANSWER_MORE;
}

static void say(struct fcgi_event *event, enum fcgi_event_kind kind)
{
	event->kind = kind;
}

static void reply(struct fcgi *f, struct fcgi_event *event, size_t length)
{
	event->kind = FCGI_REPLY;
	event->bytes = f->reply;
	event->length = length;
}

static void end_other(
	struct fcgi *f, struct fcgi_event *event, uint16_t id, enum fcgi_status status)
{
	fcgi_put_end(f->reply, id, 0, status);
	reply(f, event, FCGI_END_SIZE);
}

/* An authorizer's lack of an answer would be leave for lighttpd: that looks at no status. */
static void refuse_role(struct fcgi *f, struct fcgi_event *event, uint16_t id, unsigned role)
{
	static_assert(sizeof(REFUSAL) - 1 + FCGI_ANSWER_MORE <= FCGI_REPLY_MAX, "it has room");
	if (role != FCGI_AUTHORIZER) {
		end_other(f, event, id, FCGI_UNKNOWN_ROLE);
		return;
	}
	size_t length = fcgi_put_answer(f->reply, id, REFUSAL, sizeof(REFUSAL) - 1, 0);
	fcgi_put_end(f->reply + length - FCGI_END_SIZE, id, 0, FCGI_UNKNOWN_ROLE);
	reply(f, event, length);
}

/* The pair in hand is complete, or its name is. */
static void ask_note(struct fcgi_ask *ask)
{
	for (size_t i = 0; i < VALUES; i++)
		if (strlen(values[i]) == ask->got && memcmp(values[i], ask->name, ask->got) == 0)
			ask->found |= 1u << i;
}

/* Leaves fields that are empty. */
static void ask_advance(struct fcgi_ask *ask)
{
	if (ask->step == ASK_NAME && ask->length[0] == 0) {
		ask_note(ask);
		ask->step = ASK_VALUE;
	}
	if (ask->step == ASK_VALUE && ask->length[1] == 0) {
		ask->step = ASK_NAME_LENGTH;
		ask->got = 0;
	}
}

/* A length has one byte, or four with the first bit set (3.4). */
static void ask_length(struct fcgi_ask *ask, uint8_t byte)
{
	uint32_t *length = &ask->length[ask->step];

	if (ask->got == 0)
		*length = byte & ~LONG_LENGTH;
	else
		*length = *length << 8 | byte;
	if (ask->got == 0 && (byte & LONG_LENGTH) == 0)
		ask->got = 3;
	if (++ask->got < 4)
		return;
	ask->got = 0;
	ask->step++;
}

static void ask_byte(struct fcgi_ask *ask, uint8_t byte)
{
	switch ((enum ask_step)ask->step) {
	case ASK_NAME_LENGTH:
	case ASK_VALUE_LENGTH:
		ask_length(ask, byte);
		break;
	case ASK_NAME:
		if (ask->got < sizeof(ask->name))
			ask->name[ask->got++] = (char)byte;
		ask->length[0]--;
		break;
	case ASK_VALUE:
		ask->length[1]--;
		break;
	}
	ask_advance(ask);
}

static size_t put_number(uint8_t *out, unsigned number)
{
	uint8_t digits[DIGITS];
	size_t n = 0;

	do
		digits[n++] = (uint8_t)('0' + number % 10);
	while ((number /= 10) > 0);
	for (size_t i = 0; i < n; i++)
		out[i] = digits[n - 1 - i];
	return n;
}

static void answer_ask(struct fcgi *f, struct fcgi_event *event)
{
	const unsigned numbers[VALUES] = { f->max_conns, f->max_reqs, 0 };
	uint8_t *out = f->reply + FCGI_HEADER;

	for (size_t i = 0; i < VALUES; i++) {
		size_t name = strlen(values[i]);

		if ((f->ask.found & 1u << i) == 0)
			continue;
		size_t value = put_number(out + 2 + name, numbers[i]);
		out[0] = (uint8_t)name;
		out[1] = (uint8_t)value;
		memcpy(out + 2, values[i], name);
		out += 2 + name + value;
	}
	fcgi_put_header(
		f->reply, FCGI_GET_VALUES_RESULT, 0, (size_t)(out - f->reply) - FCGI_HEADER);
	reply(f, event, (size_t)(out - f->reply));
}

/* 4.2: a type of management record that we do not know. */
static void answer_unknown(struct fcgi *f, struct fcgi_event *event)
{
	fcgi_put_header(f->reply, FCGI_UNKNOWN_TYPE, 0, 8);
	memset(f->reply + FCGI_HEADER, 0, 8);
	f->reply[FCGI_HEADER] = f->header[1];
	reply(f, event, FCGI_HEADER + 8);
}

static uint16_t record_id(const struct fcgi *f)
{
	return (uint16_t)(f->header[2] << 8 | f->header[3]);
}

static bool is_served(const struct fcgi *f, unsigned role)
{
	return role >= FCGI_RESPONDER && role <= FCGI_FILTER && (f->roles & 1u << (role - 1)) != 0;
}

/* 5.1. One that asks for another role, or comes in between, is answered and forgotten. */
static void begin(struct fcgi *f, struct fcgi_event *event)
{
	uint16_t id = record_id(f);
	unsigned role = (unsigned)(f->begin[0] << 8 | f->begin[1]);
	bool keep = (f->begin[2] & KEEP_CONN) != 0;

	if (f->stage != STAGE_NONE) {
		if (id == f->id)
			say(event, FCGI_BROKEN);
		else
			end_other(f, event, id, FCGI_CANT_MPX_CONN);
		return;
	}
	if (!is_served(f, role)) {
		refuse_role(f, event, id, role);
		if (!keep)
			say(event, FCGI_REFUSED);
		return;
	}
	f->id = id;
	f->role = (uint8_t)role;
	f->keep = keep;
	f->stage = STAGE_PARAMS;
	say(event, FCGI_BEGUN);
}

/* A record of the request in hand. Its streams come one after the other. */
static enum use use_of_own(struct fcgi *f, struct fcgi_event *event)
{
	switch ((enum fcgi_type)f->header[1]) {
	case FCGI_BEGIN_REQUEST:
		return USE_BEGIN;
	case FCGI_ABORT_REQUEST:
		f->stage = STAGE_READ;
		say(event, FCGI_ABORTED);
		return USE_SKIP;
	case FCGI_PARAMS:
		if (f->stage == STAGE_PARAMS)
			return USE_PARAMS;
		break;
	case FCGI_STDIN:
		if (f->stage == STAGE_BODY)
			return USE_BODY;
		if (f->stage == STAGE_READ)
			return USE_SKIP;
		break;
	case FCGI_DATA:
		if (f->stage == STAGE_DATA)
			return USE_DATA;
		if (f->role != FCGI_FILTER || f->stage == STAGE_READ)
			return USE_SKIP;
		break;
	default:
		break;
	}
	say(event, FCGI_BROKEN);
	return USE_SKIP;
}

static enum use use_of(struct fcgi *f, struct fcgi_event *event)
{
	uint16_t id = record_id(f);

	if (f->header[0] != VERSION) {
		say(event, FCGI_BROKEN);
		return USE_SKIP;
	}
	if (id == 0)
		return f->header[1] == FCGI_GET_VALUES ? USE_ASK : USE_UNKNOWN;
	if (f->stage != STAGE_NONE && id == f->id)
		return use_of_own(f, event);
	return f->header[1] == FCGI_BEGIN_REQUEST ? USE_BEGIN : USE_SKIP;
}

/* A stream of the request has ended. An authorizer gets no other than its parameters (6.3); what
 * its client sends all the same, and many send an empty FCGI_STDIN, is skipped. */
static void end_stream(struct fcgi *f, struct fcgi_event *event)
{
	switch ((enum use)f->use) {
	case USE_PARAMS:
		f->stage = f->role == FCGI_AUTHORIZER ? STAGE_READ : STAGE_BODY;
		say(event, FCGI_PARAM_END);
		break;
	case USE_BODY:
		f->stage = f->role == FCGI_FILTER ? STAGE_DATA : STAGE_READ;
		say(event, FCGI_BODY_END);
		break;
	default:
		f->stage = STAGE_READ;
		say(event, FCGI_DATA_END);
		break;
	}
}

/* The last byte of the content has been seen, or there is none. */
static void close_record(struct fcgi *f, struct fcgi_event *event)
{
	switch ((enum use)f->use) {
	case USE_BEGIN:
		if (f->begin_length == sizeof(f->begin))
			begin(f, event);
		else
			say(event, FCGI_BROKEN);
		break;
	case USE_ASK:
		answer_ask(f, event);
		break;
	case USE_UNKNOWN:
		answer_unknown(f, event);
		break;
	case USE_PARAMS:
	case USE_BODY:
	case USE_DATA:
		end_stream(f, event); /* content is given away as it comes, so there was none */
		break;
	case USE_SKIP:
		break;
	}
}

/* Of a header or an FCGI_BEGIN_REQUEST, which have eight bytes and mostly come in one piece.
 * Returns how many of those that are here belong to it. */
static inline size_t fill(
	uint8_t to[FCGI_HEADER], uint8_t *have, const uint8_t *bytes, size_t length)
{
	size_t n = FCGI_HEADER - *have;

	if (n == FCGI_HEADER && length >= FCGI_HEADER) {
		memcpy(to, bytes, FCGI_HEADER);
	} else {
		n = n < length ? n : length;
		memcpy(to + *have, bytes, n);
	}
	*have = (uint8_t)(*have + n);
	return n;
}

static size_t read_header(struct fcgi *f, const uint8_t *bytes, size_t length, struct fcgi_event *e)
{
	size_t n = fill(f->header, &f->header_length, bytes, length);

	if (f->header_length < FCGI_HEADER)
		return n;
	f->content = (uint32_t)(f->header[4] << 8 | f->header[5]);
	f->padding = f->header[6];
	f->use = (uint8_t)use_of(f, e);
	if (f->use == USE_BEGIN)
		f->begin_length = 0;
	if (f->use == USE_ASK)
		f->ask = (struct fcgi_ask){ 0 };
	if (f->content == 0 && e->kind == FCGI_MORE)
		close_record(f, e);
	return n;
}

static bool is_stream(const struct fcgi *f)
{
	return f->use == USE_PARAMS || f->use == USE_BODY || f->use == USE_DATA;
}

static size_t read_content(
	struct fcgi *f, const uint8_t *bytes, size_t length, struct fcgi_event *event)
{
	static const enum fcgi_event_kind some[] = { [USE_PARAMS] = FCGI_PARAM_SOME,
		[USE_BODY] = FCGI_BODY_SOME,
		[USE_DATA] = FCGI_DATA_SOME };
	size_t n = f->content < length ? f->content : length;

	f->content -= (uint32_t)n;
	if (is_stream(f)) {
		event->kind = some[f->use];
		event->bytes = bytes;
		event->length = n;
		return n;
	}
	if (f->use == USE_BEGIN)
		fill(f->begin, &f->begin_length, bytes, n);
	for (size_t i = 0; i < n && f->use == USE_ASK; i++)
		ask_byte(&f->ask, bytes[i]);
	if (f->content == 0)
		close_record(f, event);
	return n;
}

static size_t read_some(
	struct fcgi *f, const uint8_t *bytes, size_t length, struct fcgi_event *event)
{
	size_t n;

	if (f->header_length < sizeof(f->header))
		n = read_header(f, bytes, length, event);
	else if (f->content > 0)
		n = read_content(f, bytes, length, event);
	else {
		n = f->padding < length ? f->padding : length;
		f->padding -= (uint32_t)n;
	}
	if (f->header_length == sizeof(f->header) && f->content == 0 && f->padding == 0)
		f->header_length = 0;
	return n;
}

size_t fcgi_next(struct fcgi *f, const uint8_t *bytes, size_t length, struct fcgi_event *event)
{
	size_t used = 0;

	event->kind = FCGI_MORE;
	event->bytes = NULL;
	event->length = 0;
	while (used < length && event->kind == FCGI_MORE)
		used += read_some(f, bytes + used, length - used, event);
	return used;
}

/* What is left of a record of the request in hand is skipped with it. */
void fcgi_forget(struct fcgi *f)
{
	f->stage = STAGE_NONE;
	if (is_stream(f))
		f->use = USE_SKIP;
}

bool fcgi_is_fresh(const struct fcgi *f)
{
	return f->stage == STAGE_NONE && f->header_length == 0;
}

bool fcgi_is_read(const struct fcgi *f)
{
	return f->stage == STAGE_READ;
}

size_t fcgi_rest(const struct fcgi *f)
{
	if (f->header_length == 0)
		return 0;
	if (f->header_length < sizeof(f->header))
		return sizeof(f->header) - f->header_length;
	return (size_t)f->content + f->padding;
}

/* Of a name or a value (3.4); at is behind it then. False: it is cut. */
static inline bool read_length(uint8_t **at, const uint8_t *end, size_t *length)
{
	const uint8_t *b = *at;

	if (b == end)
		return false;
	*length = b[0];
	if ((b[0] & LONG_LENGTH) == 0) {
		*at += 1;
		return true;
	}
	if (end - b < 4)
		return false;
	*length =
		(size_t)(b[0] & ~LONG_LENGTH) << 24 | (size_t)b[1] << 16 | (size_t)b[2] << 8 | b[3];
	*at += 4;
	return true;
}

/* A name moves down by one byte, over its lengths, to make room for its '='. The value stays, and
 * its NUL comes where the next pair had its lengths, when those have been read. */
int fcgi_split_pairs(uint8_t *bytes, size_t length, char **list)
{
	uint8_t *at = bytes, *end = bytes + length;
	int count = 0;

	while (at < end) {
		uint8_t *before = at;
		size_t name, value;

		if (!read_length(&at, end, &name) || !read_length(&at, end, &value) ||
			(uint64_t)name + value > (size_t)(end - at))
			return -1;
		uint8_t *text = memmove(at - 1, at, name);
		text[name] = '=';
		list[count++] = (char *)text;
		at += name + value;
		*before = '\0';
	}
	if (count > 0)
		*end = '\0';
	return count;
}
