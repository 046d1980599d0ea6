/*
 * private: memory of this process alone, for what it keeps about its children by the thousand.
 *
 * A child that fork(2) makes does not have it, and must not touch what is there.
 */
#ifndef PREFORKD_PRIVATE_H
#define PREFORKD_PRIVATE_H

#include <stddef.h>

/* All zero; NULL and errno without memory. */
void *private_alloc(size_t size);
/* A larger one, with what was in the old one, which is gone; NULL and errno: it is still there. The
 * old one may be NULL. */
void *private_grow(void *memory, size_t size, size_t larger);
/* With the size that it was asked for with; NULL is allowed. */
void private_free(void *memory, size_t size);

#endif
