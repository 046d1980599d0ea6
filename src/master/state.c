/*
 * state: a line of text for each record, "KIND NAME=VALUE NAME=VALUE"; what is not a number is hex.
 *
 * The memfd is sealed against every change, so what was checked is what is read. It comes from a
 * master, perhaps of another version: each value is held against its row all the same. Must never
 * know what the values mean.
 */
#include "master/state.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/err.h"
#include "common/units.h"

#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)
#define SIZE_MAX_BYTES (256L << 20)
#define HEAD "preforkd-state"

struct state_out {
	FILE *text;
	char *bytes;
	size_t length;
	int *fds;
	size_t fd_count;
	bool broken; /* no memory */
	int fd;      /* the memfd; -1: not yet */
};

struct state_in {
	char *text, *at; /* at: the next line */
};

struct state_out *state_begin(void)
{
	struct state_out *out = calloc(1, sizeof(*out));

	if (out == NULL)
		return NULL;
	out->fd = -1;
	out->text = open_memstream(&out->bytes, &out->length);
	if (out->text == NULL) {
		free(out);
		return NULL;
	}
	fprintf(out->text, HEAD " %u\n", STATE_VERSION);
	return out;
}

static void remember_fd(struct state_out *out, int fd)
{
	int *fds = fd < 0 ? NULL : realloc(out->fds, (out->fd_count + 1) * sizeof(*fds));

	if (fds != NULL) {
		out->fds = fds;
		out->fds[out->fd_count++] = fd;
	} else if (fd >= 0) {
		out->broken = true;
	}
}

static void put_hex(struct state_out *out, const void *bytes, size_t length)
{
	const unsigned char *p = bytes;

	for (size_t i = 0; i < length; i++)
		fprintf(out->text, "%02x", p[i]);
}

/* By size: enums, bool, int and all the unsigned kinds. */
static uint64_t load_number(const void *from, size_t size)
{
	switch (size) {
	case sizeof(uint8_t):
		return *(const uint8_t *)from;
	case sizeof(uint32_t):
		return *(const uint32_t *)from;
	default:
		return *(const uint64_t *)from;
	}
}

static void store_number(uint64_t value, void *to, size_t size)
{
	switch (size) {
	case sizeof(uint8_t):
		*(uint8_t *)to = (uint8_t)value;
		break;
	case sizeof(uint32_t):
		*(uint32_t *)to = (uint32_t)value;
		break;
	default:
		*(uint64_t *)to = value;
		break;
	}
}

static void put_value(struct state_out *out, const struct state_row *row, const void *from)
{
	const struct state_blob *blob = from;
	const char *text = from;

	switch (row->type) {
	case STATE_NUMBER:
		fprintf(out->text, "%" PRIu64, load_number(from, row->size));
		break;
	case STATE_FD:
		fprintf(out->text, "%d", *(const int *)from);
		remember_fd(out, *(const int *)from);
		break;
	case STATE_TEXT:
		put_hex(out, text, strnlen(text, row->size));
		break;
	case STATE_STRING:
		text = *(char *const *)from;
		put_hex(out, text, strlen(text));
		break;
	case STATE_BYTES:
		put_hex(out, from, row->size);
		break;
	case STATE_BLOB:
		put_hex(out, blob->bytes, blob->length);
		break;
	}
}

void state_put(
	struct state_out *out, const char *kind, const struct state_row *rows, const void *base)
{
	fputs(kind, out->text);
	for (const struct state_row *row = rows; row->name != NULL; row++) {
		const void *from = (const char *)base + row->offset;

		if (row->type == STATE_STRING && *(char *const *)from == NULL)
			continue;
		fprintf(out->text, " %s=", row->name);
		put_value(out, row, from);
	}
	fputc('\n', out->text);
}

static int write_all(int fd, const char *bytes, size_t length)
{
	while (length > 0) {
		ssize_t n = write(fd, bytes, length);

		if (n < 0 && errno != EINTR)
			return -1;
		if (n > 0) {
			bytes += n;
			length -= (size_t)n;
		}
	}
	return 0;
}

int state_seal(struct state_out *out, struct err *err)
{
	fputs("end\n", out->text);
	if (fflush(out->text) != 0 || ferror(out->text) || out->broken)
		return err_set(err, EX_OSERR, "out of memory");
	out->fd = memfd_create("preforkd-state", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (out->fd < 0 || write_all(out->fd, out->bytes, out->length) != 0 ||
		fcntl(out->fd, F_ADD_SEALS, SEALS) != 0)
		return err_set(
			err, EX_OSERR, "cannot write the state to a memfd: %s", strerror(errno));
	return 0;
}

int state_fd(const struct state_out *out)
{
	return out->fd;
}

void state_inherit(const struct state_out *out, bool inherit)
{
	int flags = inherit ? 0 : FD_CLOEXEC;

	for (size_t i = 0; i < out->fd_count; i++)
		fcntl(out->fds[i], F_SETFD, flags);
	fcntl(out->fd, F_SETFD, flags);
}

void state_drop(struct state_out *out)
{
	if (out == NULL)
		return;
	fclose(out->text);
	if (out->fd >= 0)
		close(out->fd);
	free(out->bytes);
	free(out->fds);
	free(out);
}

static char *read_all(int fd, struct err *err)
{
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);
	char *text = NULL;
	ssize_t n = 1;
	off_t have = 0;

	if (seals < 0 || (seals & SEALS) != SEALS || fstat(fd, &st) != 0 ||
		st.st_size > SIZE_MAX_BYTES) {
		err_set(err, EX_USAGE, "%s does not name a sealed memfd", STATE_VARIABLE);
		return NULL;
	}
	text = malloc((size_t)st.st_size + 1);
	for (; text != NULL && n > 0 && have < st.st_size; have += n)
		n = pread(fd, text + have, (size_t)(st.st_size - have), have);
	if (text == NULL || n < 0 || memchr(text, '\0', (size_t)have) != NULL) {
		free(text);
		err_set(err, EX_OSERR, "cannot read the state");
		return NULL;
	}
	text[have] = '\0';
	return text;
}

struct state_in *state_open(int fd, struct err *err)
{
	struct state_in *in = calloc(1, sizeof(*in));
	unsigned version = 0;
	int used = 0;

	if (in == NULL) {
		err_set(err, EX_OSERR, "out of memory");
		return NULL;
	}
	in->text = read_all(fd, err);
	if (in->text != NULL &&
		(sscanf(in->text, HEAD " %u\n%n", &version, &used) != 1 ||
			version != STATE_VERSION || used == 0 || in->text[used - 1] != '\n')) {
		err_set(err, EX_UNAVAILABLE,
			"the state is of version %u, and this program knows version %u: stop and "
			"start",
			version, STATE_VERSION);
		free(in->text);
		in->text = NULL;
	}
	if (in->text == NULL) {
		free(in);
		return NULL;
	}
	close(fd);
	in->at = in->text + used;
	return in;
}

bool state_has(const struct state_in *in, const char *kind)
{
	size_t length = strlen(kind);

	return strncmp(in->at, kind, length) == 0 &&
	       (in->at[length] == ' ' || in->at[length] == '\n');
}

static int nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* -1 unless text is hex of length bytes. */
static int take_hex(const char *text, void *to, size_t length)
{
	unsigned char *bytes = to;

	if (strlen(text) != 2 * length)
		return -1;
	for (size_t i = 0; i < length; i++) {
		int high = nibble(text[2 * i]), low = nibble(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return -1;
		bytes[i] = (unsigned char)(high << 4 | low);
	}
	return 0;
}

static void *take_owned(const char *text, size_t *length)
{
	*length = strlen(text) / 2;
	char *bytes = calloc(1, *length + 1);

	if (bytes != NULL && take_hex(text, bytes, *length) == 0)
		return bytes;
	free(bytes);
	return NULL;
}

static int take_number(const char *text, const struct state_row *row, void *to)
{
	uint64_t value;

	if (units_number(text, 0, row->most, &value, NULL) != 0)
		return -1;
	store_number(value, to, row->size);
	return load_number(to, row->size) == value ? 0 : -1;
}

static int take_fd(const char *text, int *to)
{
	uint64_t value;

	if (strcmp(text, "-1") == 0) {
		*to = -1;
		return 0;
	}
	if (units_number(text, STDERR_FILENO + 1, INT32_MAX, &value, NULL) != 0)
		return -1;
	*to = (int)value;
	return fcntl(*to, F_SETFD, FD_CLOEXEC);
}

static int take_value(const char *text, const struct state_row *row, void *to)
{
	struct state_blob *blob = to;
	size_t length;

	switch (row->type) {
	case STATE_NUMBER:
		return take_number(text, row, to);
	case STATE_FD:
		return take_fd(text, to);
	case STATE_TEXT:
		length = strlen(text) / 2;
		if (length >= row->size)
			return -1;
		memset(to, 0, row->size);
		return take_hex(text, to, length);
	case STATE_STRING:
		return (*(char **)to = take_owned(text, &length)) == NULL ? -1 : 0;
	case STATE_BYTES:
		return take_hex(text, to, row->size);
	case STATE_BLOB:
		return (blob->bytes = take_owned(text, &blob->length)) == NULL ? -1 : 0;
	}
	return -1;
}

static const struct state_row *find_row(const struct state_row *rows, const char *name)
{
	while (rows->name != NULL && strcmp(rows->name, name) != 0)
		rows++;
	return rows->name == NULL ? NULL : rows;
}

int state_take(struct state_in *in, const char *kind, const struct state_row *rows, void *base,
	struct err *err)
{
	char *line, *name;

	if (!state_has(in, kind))
		return err_set(err, EX_SOFTWARE, "the state has no \"%s\" where it should", kind);
	line = strsep(&in->at, "\n");
	if (in->at == NULL)
		in->at = line + strlen(line);
	strsep(&line, " ");
	while ((name = strsep(&line, " ")) != NULL) {
		char *value = strchr(name, '=');

		if (value == NULL)
			return err_set(err, EX_SOFTWARE, "the state has a broken \"%s\"", kind);
		*value++ = '\0';
		const struct state_row *row = find_row(rows, name);
		if (row != NULL && take_value(value, row, (char *)base + row->offset) != 0)
			return err_set(
				err, EX_SOFTWARE, "the state has a bad value: %s %s", kind, name);
	}
	return 0;
}

bool state_close(struct state_in *in)
{
	bool complete = strcmp(in->at, "end\n") == 0;

	free(in->text);
	free(in);
	return complete;
}
