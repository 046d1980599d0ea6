/*
 * text: RFC 3629: no surrogates, nothing beyond U+10FFFF, nothing longer than it needs to be.
 */
#include "gate/text.h"

#include <stdbool.h>
#include <string.h>

#define REPLACEMENT "\xef\xbf\xbd"

/* What the bytes behind the first may be; the first of them has a range of its own. */
struct form {
	unsigned char first, last; /* of the lead byte */
	unsigned char low, high;   /* of the second */
	size_t length;
};

static const struct form forms[] = {
	{ 0x01, 0x7f, 0x00, 0x00, 1 },
	{ 0xc2, 0xdf, 0x80, 0xbf, 2 },
	{ 0xe0, 0xe0, 0xa0, 0xbf, 3 },
	{ 0xe1, 0xec, 0x80, 0xbf, 3 },
	{ 0xed, 0xed, 0x80, 0x9f, 3 },
	{ 0xee, 0xef, 0x80, 0xbf, 3 },
	{ 0xf0, 0xf0, 0x90, 0xbf, 4 },
	{ 0xf1, 0xf3, 0x80, 0xbf, 4 },
	{ 0xf4, 0xf4, 0x80, 0x8f, 4 },
};

static bool fits(const struct form *f, const unsigned char *p)
{
	if (p[0] < f->first || p[0] > f->last)
		return false;
	if (f->length > 1 && (p[1] < f->low || p[1] > f->high))
		return false;
	for (size_t i = 2; i < f->length; i++) /* a NUL ends it */
		if (p[i] < 0x80 || p[i] > 0xbf)
			return false;
	return true;
}

/* Bytes of the character that begins here; 0: none does. */
static size_t length_at(const unsigned char *p)
{
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)
		if (fits(&forms[i], p))
			return forms[i].length;
	return 0;
}

char *text_utf8(const char *bytes, char *out, size_t size)
{
	const unsigned char *p = (const unsigned char *)bytes;
	size_t used = 0;

	while (*p != '\0') {
		size_t length = length_at(p), room = length > 0 ? length : strlen(REPLACEMENT);

		if (used + room >= size)
			break;
		memcpy(out + used, length > 0 ? (const char *)p : REPLACEMENT, room);
		used += room;
		p += length > 0 ? length : 1;
	}
	out[used] = '\0';
	return out;
}
