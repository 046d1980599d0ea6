/*
 * state: what a master hands to the next image of itself: records of named values, in a sealed
 * memfd.
 *
 * One table row per value serves both ways. A name that the reader does not know is passed over and
 * a value that is not there stays what it was, so that rows can come and go between versions. What
 * changes the meaning of a row raises STATE_VERSION: an enum that is renumbered, too.
 */
#ifndef PREFORKD_STATE_H
#define PREFORKD_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STATE_VERSION 1u
#define STATE_VARIABLE "PREFORKD_STATE" /* names the memfd's descriptor to the next image */

struct err;

enum state_type {
	STATE_NUMBER, /* of 1, 4 or 8 bytes, an int or enum too; never negative, up to "most" */
	STATE_FD,     /* int: a descriptor, -1: none. Inherited, and checked to be open */
	STATE_TEXT,   /* char[] */
	STATE_STRING, /* char *: owned, NULL: none */
	STATE_BYTES,  /* an array or struct as it lies in memory */
	STATE_BLOB,   /* struct state_blob */
};

struct state_blob {
	void *bytes; /* owned; a NUL stands behind them */
	size_t length;
};

struct state_row {
	const char *name;
	enum state_type type;
	size_t offset, size;
	uint64_t most;
};

/* A row for a field of a struct; the last of a table is STATE_END. */
#define STATE_ROW(kind, type, field, most)                                                    \
	{                                                                                     \
#field, STATE_##kind, offsetof(type, field), sizeof(((type *)0)->field), most \
	}
#define STATE_END            \
	{                    \
		.name = NULL \
	}

/* Writing. Without memory state_seal() fails. */
struct state_out;
struct state_out *state_begin(void);
void state_put(
	struct state_out *out, const char *kind, const struct state_row *rows, const void *base);
/* Ends it, and makes the memfd. */
int state_seal(struct state_out *out, struct err *err);
int state_fd(const struct state_out *out);
/* Everything that was put as a descriptor, and the memfd: for the next image, or for us alone. */
void state_inherit(const struct state_out *out, bool inherit);
void state_drop(struct state_out *out);

/* Reading. */
struct state_in;
/* Takes over fd; NULL and *err when it is no state that this version can read. */
struct state_in *state_open(int fd, struct err *err);
/* Is the next record of that kind? */
bool state_has(const struct state_in *in, const char *kind);
/* The next record, which must be of that kind. Fills base, in which strings and blobs are NULL.
 * Descriptors are ours alone from then on. */
int state_take(struct state_in *in, const char *kind, const struct state_row *rows, void *base,
	struct err *err);
/* True: it ended where it should. */
bool state_close(struct state_in *in);

#endif
