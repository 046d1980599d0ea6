/*
 * lines: the cutting of foreign bytes into lines.
 *
 * A carriage return belongs to the end of a line only where a newline follows, so one behind the
 * longest line waits for what comes next. Never keeps more than one line, whatever comes.
 */
#include "master/lines.h"

#include <string.h>

static struct lines_line without_return(struct lines_line line)
{
	if (line.length > 0 && line.bytes[line.length - 1] == '\r')
		line.length--;
	return line;
}

static void forget_told(struct lines *l)
{
	l->used -= l->told;
	memmove(l->bytes, l->bytes + l->told, l->used);
	l->told = 0;
}

size_t lines_next(struct lines *l, const char *bytes, size_t length, struct lines_line *line)
{
	forget_told(l);
	*line = (struct lines_line){ .bytes = NULL };
	for (size_t i = 0; i < length; i++) {
		if (bytes[i] == '\n') {
			*line = without_return((struct lines_line){ l->bytes, l->used });
			l->told = l->used;
			return i + 1;
		}
		if (l->used == sizeof(l->bytes) || (l->used == LINES_LONGEST && bytes[i] != '\r')) {
			*line = (struct lines_line){ l->bytes, LINES_LONGEST };
			l->told = LINES_LONGEST;
			return i;
		}
		l->bytes[l->used++] = bytes[i];
	}
	return length;
}

struct lines_line lines_rest(const struct lines *l)
{
	return (struct lines_line){ l->bytes + l->told, l->used - l->told };
}

struct lines_line lines_last(const struct lines *l)
{
	struct lines_line line = lines_rest(l);

	if (line.length == 0)
		line.bytes = NULL;
	return without_return(line);
}
