/*
 * Helpers of the fuzz targets. Each target says in LLVMFuzzerTestOneInput() what must hold for
 * whatever input; libFuzzer looks for an input for which it does not, or on which a sanitizer
 * complains.
 */
#ifndef PREFORKD_FUZZ_H
#define PREFORKD_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)                                                                   \
	do {                                                                              \
		if (!(condition)) {                                                       \
			fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, \
				#condition);                                              \
			abort();                                                          \
		}                                                                         \
	} while (0)

/* Memory of exactly that size, so that the sanitizer sees a byte too many. For free(). */
static inline void *fuzz_copy(const void *bytes, size_t length)
{
	uint8_t *copy = malloc(length);

	MUST(copy != NULL);
	if (length > 0)
		memcpy(copy, bytes, length);
	return copy;
}

/* The input as a string, up to its first NUL. For free(). */
static inline char *fuzz_text(const uint8_t *data, size_t size)
{
	char *text = strndup((const char *)data, size);

	MUST(text != NULL);
	return text;
}

#endif
