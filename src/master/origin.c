/*
 * origin: copies, made before main() does anything else.
 *
 * The program is remembered by name and not by its open file: an upgrade wants the file that stands
 * there then, and the package that replaced it has removed the one we run.
 */
#include "master/origin.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/err.h"
#include "master/state.h"

static const struct state_row rows[] = {
	STATE_ROW(STRING, struct origin, binary, 0),
	STATE_ROW(STRING, struct origin, directory, 0),
	STATE_END,
};

/* LISTEN_* was for the first image: what it handed over is in the state. */
static bool is_for_one_image(const char *variable)
{
	return strncmp(variable, "LISTEN_", 7) == 0 ||
	       strncmp(variable, STATE_VARIABLE "=", sizeof(STATE_VARIABLE)) == 0;
}

static char **copy_list(char **list, bool (*leave_out)(const char *))
{
	size_t n = 0, kept = 0;

	while (list[n] != NULL)
		n++;
	char **copy = calloc(n + 1, sizeof(char *));
	for (size_t i = 0; copy != NULL && i < n; i++) {
		if (leave_out != NULL && leave_out(list[i]))
			continue;
		copy[kept] = strdup(list[i]);
		if (copy[kept++] == NULL) {
			free(copy);
			return NULL;
		}
	}
	return copy;
}

/* The name that we were called by, if it leads to our program: a link that packages turn over to
 * another version stays a link. Else where the kernel found it. */
static char *find_binary(const struct origin *o)
{
	char running[PATH_MAX], called[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", running, sizeof(running) - 1);

	if (n < 0)
		return origin_absolute(o, o->argv[0]);
	running[n] = '\0';
	if (o->argv[0] != NULL && strchr(o->argv[0], '/') != NULL &&
		realpath(o->argv[0], called) != NULL && strcmp(called, running) == 0)
		return origin_absolute(o, o->argv[0]);
	return strdup(running);
}

int origin_remember(struct origin *o, char **argv, char **environment)
{
	o->directory = getcwd(NULL, 0);
	o->argv = copy_list(argv, NULL);
	o->environ = copy_list(environment, is_for_one_image);
	if (o->argv == NULL || o->environ == NULL)
		return -1;
	o->binary = find_binary(o);
	return o->binary == NULL ? -1 : 0;
}

char *origin_absolute(const struct origin *o, const char *path)
{
	char *full;

	if (path == NULL)
		return NULL;
	if (path[0] == '/' || path[0] == '\0' || o->directory == NULL ||
		asprintf(&full, "%s/%s", o->directory, path) < 0)
		full = strdup(path);
	return full;
}

void origin_save(const struct origin *origin, struct state_out *out)
{
	state_put(out, "origin", rows, origin);
}

int origin_restore(struct origin *origin, struct state_in *in, struct err *err)
{
	struct origin first = { 0 };

	if (state_take(in, "origin", rows, &first, err) != 0)
		return -1;
	if (first.binary != NULL) {
		free(origin->binary);
		origin->binary = first.binary;
	}
	if (first.directory != NULL) {
		free(origin->directory);
		origin->directory = first.directory;
	}
	return 0;
}
