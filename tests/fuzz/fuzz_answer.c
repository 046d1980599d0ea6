/*
 * The head of an application's answer. Every split of the input says the same of it, and the head
 * ends where an empty line does, if it ends.
 *
 * The first bytes say how the rest is cut into pieces.
 */
#include "fuzz.h"
#include "worker/answer.h"

#define CUTS 4

static struct answer cut(const uint8_t *bytes, size_t length, const uint8_t *cuts)
{
	struct answer a = { .status = 0 };

	for (size_t at = 0, i = 0; at < length; i++) {
		size_t piece = (size_t)cuts[i % CUTS] + 1;

		piece = piece < length - at ? piece : length - at;
		uint8_t *copy = fuzz_copy(bytes + at, piece);
		answer_take(&a, copy, piece);
		free(copy);
		at += piece;
	}
	return a;
}

static void check_same(const struct answer *a, const struct answer *b)
{
	MUST(a->head == b->head && a->head_over == b->head_over);
	MUST(a->status == b->status && a->moves == b->moves);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t bytewise[CUTS];

	if (size < CUTS)
		return 0;
	const uint8_t *bytes = data + CUTS;
	size_t length = size - CUTS;
	struct answer whole = { .status = 0 };

	answer_take(&whole, bytes, length);
	struct answer pieces = cut(bytes, length, data), single = cut(bytes, length, bytewise);
	check_same(&whole, &pieces);
	check_same(&whole, &single);
	MUST(whole.head <= length);
	MUST(whole.status == 0 || (whole.status >= 100 && whole.status <= 999));
	if (whole.head_over)
		MUST(whole.status != 0 && whole.head > 0 && bytes[whole.head - 1] == '\n');
	else
		MUST(whole.head == length);
	return 0;
}
