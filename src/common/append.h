/*
 * append: opens a file that others get to append to, by a path that may lead through their hands.
 *
 * A regular file has one name, and it is never a symbolic link; on the way there a link only
 * counts where nobody else could have put it. Makes no directory and changes no file.
 */
#ifndef PREFORKD_APPEND_H
#define PREFORKD_APPEND_H

struct err;

/* What may stand there: a file only, or a pipe or a device too. */
enum append_kind { APPEND_FILE, APPEND_ANY };

/* Made with mode 0640 if it is not there. path is absolute. -1 and *err. */
int append_open(const char *path, enum append_kind kind, struct err *err);
/* Could it be opened? Makes nothing. */
int append_check(const char *path, enum append_kind kind, struct err *err);

#endif
