/*
 * private: blocks of like size cut from pages that are not inherited (MADV_DONTFORK).
 *
 * What fork(2) copies costs each child its part of the page tables, and the parent a fault for each
 * page that it writes to afterwards: with a thousand workers that took longer than all else that a
 * start does. Nor has a worker any use for what its master knows of its siblings.
 */
#include "common/private.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define STEP 64u              /* bytes: sizes are multiples of it */
#define CLASSES 64u           /* what is larger has pages of its own */
#define CHUNK (size_t)262144u /* cut into blocks, and never given back */

struct block {
	struct block *next;
};

static struct {
	struct block *free[CLASSES + 1]; /* by size, in steps */
	char *rest;                      /* of the newest chunk */
	size_t left;
} store;

static size_t steps_of(size_t size)
{
	return size == 0 ? 1 : (size + STEP - 1) / STEP;
}

static void *map(size_t size)
{
	void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (pages == MAP_FAILED)
		return NULL;
	if (madvise(pages, size, MADV_DONTFORK) == 0)
		return pages;
	int reason = errno;
	munmap(pages, size);
	errno = reason;
	return NULL;
}

/* What is left of the chunk before is lost: less than a block of this size. */
static void *cut(size_t size)
{
	if (store.left < size) {
		char *chunk = map(CHUNK);

		if (chunk == NULL)
			return NULL;
		store.rest = chunk;
		store.left = CHUNK;
	}
	void *memory = store.rest;
	store.rest += size;
	store.left -= size;
	return memory;
}

void *private_alloc(size_t size)
{
	size_t steps = steps_of(size);

	if (steps > CLASSES)
		return map(size);
	struct block *block = store.free[steps];
	if (block == NULL)
		return cut(steps * STEP);
	store.free[steps] = block->next;
	return memset(block, 0, steps * STEP);
}

void private_free(void *memory, size_t size)
{
	size_t steps = steps_of(size);

	if (memory == NULL)
		return;
	if (steps > CLASSES) {
		munmap(memory, size);
		return;
	}
	struct block *block = memory;
	block->next = store.free[steps];
	store.free[steps] = block;
}

void *private_grow(void *memory, size_t size, size_t larger)
{
	void *grown = private_alloc(larger);

	if (grown == NULL || memory == NULL)
		return grown;
	memcpy(grown, memory, size);
	private_free(memory, size);
	return grown;
}
