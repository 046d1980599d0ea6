/*
 * holder: who listens at an address that we cannot have. For the one who has to end that process.
 *
 * Looks through /proc; only after a failure, because that takes its time.
 */
#ifndef PREFORKD_HOLDER_H
#define PREFORKD_HOLDER_H

#include <stdbool.h>

struct address;

#define HOLDER_TEXT 96

/* "process 4711 (php-cgi)", safe to log; false and an empty text: it cannot be seen. */
bool holder_find(const struct address *address, char out[HOLDER_TEXT]);

#endif
