/*
 * origin: how preforkd was started: program, arguments, environment, directory.
 *
 * Kept as it was, for an upgrade to start the same again: the arguments give way to the process
 * title, some variables are cleared, and a daemon leaves its directory. Must never start anything.
 */
#ifndef PREFORKD_ORIGIN_H
#define PREFORKD_ORIGIN_H

struct state_in;
struct state_out;
struct err;

struct origin {
	char *binary;    /* absolute path; another file may stand there by now */
	char *directory; /* what relative paths of the command line belong to */
	char **argv, **environ;
};

/* Before anything changes them. -1 without memory. */
int origin_remember(struct origin *origin, char **argv, char **environment);

/* For free(); NULL for NULL and without memory. */
char *origin_absolute(const struct origin *origin, const char *path);

void origin_save(const struct origin *origin, struct state_out *out);
/* Program and directory of the first start. */
int origin_restore(struct origin *origin, struct state_in *in, struct err *err);

#endif
