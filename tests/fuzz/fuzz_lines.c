/*
 * The lines that workers print. Every split of the input gives the same lines, and they are those
 * that the words say: an end is "\n" or "\r\n", and what is longer than a line may be is cut.
 *
 * The first bytes say how the rest is cut into pieces.
 */
#include "fuzz.h"
#include "master/lines.h"

#define CUTS 8
#define INPUT_MAX 8192
#define TOLD_MAX (4 * INPUT_MAX)

/* Each line with its length in front, so that no two rows of lines look the same. */
struct told {
	uint8_t bytes[TOLD_MAX];
	size_t length;
};

static void tell(struct told *told, const char *line, size_t length)
{
	MUST(length <= LINES_LONGEST && told->length + 2 + length <= sizeof(told->bytes));
	told->bytes[told->length++] = (uint8_t)(length >> 8);
	told->bytes[told->length++] = (uint8_t)length;
	if (length > 0)
		memcpy(told->bytes + told->length, line, length);
	told->length += length;
}

/* The rule, over all of the input at once. */
static void expect(const char *bytes, size_t length, struct told *told)
{
	told->length = 0;
	while (length > 0) {
		const char *end = memchr(bytes, '\n', length);
		size_t all = end != NULL ? (size_t)(end - bytes) + 1 : length;
		size_t line = end != NULL ? all - 1 : all, at = 0;

		if (line > 0 && bytes[line - 1] == '\r')
			line--;
		for (; line - at > LINES_LONGEST; at += LINES_LONGEST)
			tell(told, bytes + at, LINES_LONGEST);
		tell(told, bytes + at, line - at);
		bytes += all;
		length -= all;
	}
}

/* As if the program was replaced by another in between, which takes over what has not ended. */
static void carry_over(struct lines *lines)
{
	struct lines_line rest = lines_rest(lines), line;
	struct lines fresh;

	memset(&fresh, 0, sizeof(fresh));
	for (size_t at = 0; at < rest.length;) {
		at += lines_next(&fresh, rest.bytes + at, rest.length - at, &line);
		MUST(line.bytes == NULL);
	}
	*lines = fresh;
}

static void feed(struct lines *lines, const char *bytes, size_t length, struct told *told)
{
	char *copy = fuzz_copy(bytes, length);
	struct lines_line line;

	for (size_t at = 0; at < length;) {
		size_t n = lines_next(lines, copy + at, length - at, &line);

		MUST(n <= length - at && (n > 0 || line.bytes != NULL));
		at += n;
		if (line.bytes != NULL)
			tell(told, line.bytes, line.length);
	}
	free(copy);
}

static void cut(const char *bytes, size_t length, const uint8_t *cuts, struct told *told)
{
	struct lines lines;
	struct lines_line last;

	memset(&lines, 0xff, sizeof(lines));
	lines.used = lines.told = 0;
	told->length = 0;
	for (size_t at = 0, i = 0; at < length; i++) {
		size_t piece = (size_t)cuts[i % CUTS] + 1;

		piece = piece < length - at ? piece : length - at;
		feed(&lines, bytes + at, piece, told);
		at += piece;
		if (cuts[i % CUTS] % 8 == 7)
			carry_over(&lines);
	}
	last = lines_last(&lines);
	if (last.bytes != NULL)
		tell(told, last.bytes, last.length);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct told expected, told;
	static const uint8_t bytewise[CUTS];

	if (size < CUTS || size > INPUT_MAX)
		return 0;
	const char *bytes = (const char *)data + CUTS;
	expect(bytes, size - CUTS, &expected);
	cut(bytes, size - CUTS, data, &told);
	MUST(told.length == expected.length);
	MUST(memcmp(told.bytes, expected.bytes, told.length) == 0);
	cut(bytes, size - CUTS, bytewise, &told);
	MUST(told.length == expected.length);
	MUST(memcmp(told.bytes, expected.bytes, told.length) == 0);
	return 0;
}
