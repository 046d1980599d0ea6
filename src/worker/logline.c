/*
 * logline: text, numbers, times and escaped values, one after the other.
 *
 * Written without printf(3) and localtime(3), which a signal handler must not call.
 */
#include "worker/logline.h"

#include <stdbool.h>
#include <string.h>

#include "common/logformat.h"
#include "worker/params.h"

#define NUMBER 40 /* bytes of a number or a time, at most */
#define DAY 86400

/* What has been written; values also end at "stop". */
struct out {
	char *at;
	const char *stop;
	bool json;
};

static void put(struct out *out, const char *bytes, size_t length)
{
	memcpy(out->at, bytes, length);
	out->at += length;
}

static void put_text(struct out *out, const char *text)
{
	put(out, text, strlen(text));
}

/* With leading zeros up to a width. */
static void put_number(struct out *out, uint64_t number, unsigned width)
{
	char digits[20];
	unsigned n = 0;

	do
		digits[sizeof(digits) - ++n] = (char)('0' + number % 10);
	while ((number /= 10) > 0 || n < width);
	put(out, digits + sizeof(digits) - n, n);
}

static const char hex[] = "0123456789ABCDEF";

/* Stands for itself, in text and in JSON. */
static bool is_plain(unsigned char c)
{
	return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

static size_t escape_text(unsigned char c, char *to)
{
	memcpy(to, (char[]){ '\\', 'x', hex[c >> 4], hex[c & 15] }, 4);
	return 4;
}

static size_t escape_json(unsigned char c, char *to)
{
	static const char letters[] = "\bb\ff\nn\rr\tt\"\"\\\\";

	for (size_t i = 0; i < sizeof(letters) - 1; i += 2)
		if ((unsigned char)letters[i] == c) {
			memcpy(to, (char[]){ '\\', letters[i + 1] }, 2);
			return 2;
		}
	memcpy(to, (char[]){ '\\', 'u', '0', '0', hex[c >> 4], hex[c & 15] }, 6);
	return 6;
}

/* How many bytes the character has that begins here; 0: it is no UTF-8 (RFC 3629). */
static size_t utf8_length(const unsigned char *p, size_t left)
{
	size_t n = p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;

	if (n == 0 || n > left || (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
		(p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

/* One character that does not stand for itself; returns how many bytes it had. */
static size_t put_escaped(struct out *out, const unsigned char *p, size_t left)
{
	char one[8];
	size_t used = 1, n;

	if (!out->json) {
		n = escape_text(*p, one);
	} else if (*p < 0x80) {
		n = escape_json(*p, one);
	} else if ((n = utf8_length(p, left)) > 0) {
		memcpy(one, p, n);
		used = n;
	} else {
		memcpy(one, "\xef\xbf\xbd", n = 3); /* U+FFFD */
	}
	if (n > (size_t)(out->stop - out->at)) {
		out->stop = out->at; /* the rest is cut off, and what would follow */
		return left;
	}
	put(out, one, n);
	return used;
}

static void put_foreign(struct out *out, const char *bytes, size_t length)
{
	const unsigned char *p = (const unsigned char *)bytes;

	while (length > 0) {
		size_t most = (size_t)(out->stop - out->at), n = 0;

		if (most > length)
			most = length;
		while (n < most && is_plain(p[n]))
			n++;
		put(out, (const char *)p, n);
		if (n < length)
			n += put_escaped(out, p + n, length - n);
		p += n;
		length -= n;
	}
}

static void put_path(struct out *out, char *const *params)
{
	struct params_path path;

	params_path(params, &path);
	for (int i = 0; i < 2; i++)
		put_foreign(out, path.piece[i], path.length[i]);
}

static void put_uri(struct out *out, char *const *params)
{
	const char *uri = params_get(params, "REQUEST_URI");
	const char *query = params_get(params, "QUERY_STRING");

	if (*uri != '\0') {
		put_foreign(out, uri, strlen(uri));
		return;
	}
	put_path(out, params);
	if (*query == '\0')
		return;
	put_foreign(out, "?", 1);
	put_foreign(out, query, strlen(query));
}

static void put_param(struct out *out, const struct logformat_step *step, char *const *params)
{
	const char *value = params_get(params, step->text);

	if (*value == '\0' && step->second != NULL)
		value = params_get(params, step->second);
	put_foreign(out, value, strlen(value));
}

/* A value of the client, or "-" where there is none; in JSON that is the empty string. */
static void put_value(
	struct out *out, const struct logformat_step *step, const struct logline *facts)
{
	const char *begin = out->at;

	out->stop = begin + LOGLINE_VALUE;
	if (step->field == LOGFORMAT_PATH)
		put_path(out, facts->params);
	else if (step->field == LOGFORMAT_URI)
		put_uri(out, facts->params);
	else
		put_param(out, step, facts->params);
	if (out->at == begin && !out->json)
		put_text(out, "-");
}

struct date {
	unsigned year, month, day, hour, minute, second;
};

/* From days since 1970 to the Gregorian calendar, in years that begin in March. */
static struct date date_of(uint64_t seconds)
{
	uint64_t days = seconds / DAY + 719468, rest = seconds % DAY;
	unsigned of_era = (unsigned)(days % 146097), era = (unsigned)(days / 146097);
	unsigned year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	unsigned of_year = of_era - (365 * year + year / 4 - year / 100);
	unsigned month = (5 * of_year + 2) / 153;

	return (struct date){
		.year = era * 400 + year + (month >= 10),
		.month = month < 10 ? month + 3 : month - 9,
		.day = of_year - (153 * month + 2) / 5 + 1,
		.hour = (unsigned)(rest / 3600),
		.minute = (unsigned)(rest / 60 % 60),
		.second = (unsigned)(rest % 60),
	};
}

static void put_clock(struct out *out, const struct date *d)
{
	put_number(out, d->hour, 2);
	put_text(out, ":");
	put_number(out, d->minute, 2);
	put_text(out, ":");
	put_number(out, d->second, 2);
}

static void put_offset(struct out *out, int offset, const char *between)
{
	unsigned minutes = (unsigned)(offset < 0 ? -offset : offset) / 60;

	put_text(out, offset < 0 ? "-" : "+");
	put_number(out, minutes / 60, 2);
	put_text(out, between);
	put_number(out, minutes % 60, 2);
}

static void put_iso(struct out *out, const struct logline *facts)
{
	struct date d = date_of(facts->began_ms / 1000 + (uint64_t)(int64_t)facts->offset);

	put_number(out, d.year, 4);
	put_text(out, "-");
	put_number(out, d.month, 2);
	put_text(out, "-");
	put_number(out, d.day, 2);
	put_text(out, "T");
	put_clock(out, &d);
	put_text(out, ".");
	put_number(out, facts->began_ms % 1000, 3);
	put_offset(out, facts->offset, ":");
}

static void put_clf(struct out *out, const struct logline *facts)
{
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	struct date d = date_of(facts->began_ms / 1000 + (uint64_t)(int64_t)facts->offset);

	put_number(out, d.day, 2);
	put_text(out, "/");
	put(out, months + 3 * (d.month - 1), 3);
	put_text(out, "/");
	put_number(out, d.year, 4);
	put_text(out, ":");
	put_clock(out, &d);
	put_text(out, " ");
	put_offset(out, facts->offset, "");
}

static void put_seconds(struct out *out, uint64_t us)
{
	put_number(out, us / 1000000, 1);
	put_text(out, ".");
	put_number(out, us % 1000000, 6);
}

static bool is_value(enum logformat_field field)
{
	switch (field) {
	case LOGFORMAT_STATUS:
	case LOGFORMAT_BYTES:
	case LOGFORMAT_BYTES_IN:
	case LOGFORMAT_TIME_US:
	case LOGFORMAT_TIME_S:
	case LOGFORMAT_TIME_ISO:
	case LOGFORMAT_TIME_CLF:
	case LOGFORMAT_PID:
	case LOGFORMAT_POOL: /* has letters, digits and dots */
	case LOGFORMAT_LITERAL:
		return false;
	default:
		return true;
	}
}

static void put_step(
	struct out *out, const struct logformat_step *step, const struct logline *facts)
{
	switch (step->field) {
	case LOGFORMAT_LITERAL:
		put(out, step->text, step->length);
		break;
	case LOGFORMAT_STATUS:
		put_number(out, facts->status, 1);
		break;
	case LOGFORMAT_BYTES:
		put_number(out, facts->bytes, 1);
		break;
	case LOGFORMAT_BYTES_IN:
		put_number(out, facts->bytes_in, 1);
		break;
	case LOGFORMAT_TIME_US:
		put_number(out, facts->us, 1);
		break;
	case LOGFORMAT_TIME_S:
		put_seconds(out, facts->us);
		break;
	case LOGFORMAT_TIME_ISO:
		put_iso(out, facts);
		break;
	case LOGFORMAT_TIME_CLF:
		put_clf(out, facts);
		break;
	case LOGFORMAT_PID:
		put_number(out, facts->pid, 1);
		break;
	case LOGFORMAT_POOL:
		put_text(out, facts->pool);
		break;
	default:
		put_value(out, step, facts);
		break;
	}
}

size_t logline_room(const struct logformat *format)
{
	size_t room = 1;

	for (size_t i = 0; i < format->count; i++) {
		const struct logformat_step *step = &format->steps[i];

		room += is_value(step->field) ? LOGLINE_VALUE : NUMBER + step->length;
	}
	return room;
}

size_t logline_write(const struct logformat *format, const struct logline *facts, char *to)
{
	struct out out = { .at = to, .json = format->json };

	for (size_t i = 0; i < format->count; i++)
		put_step(&out, &format->steps[i], facts);
	put_text(&out, "\n");
	return (size_t)(out.at - to);
}
