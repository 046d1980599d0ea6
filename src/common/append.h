/*
 * append: opens a file that others get to append to, by a path that may lead through their hands.
 *
 * The file is a regular one with one name, and never a symbolic link; on the way there a link only
 * counts where nobody else could have put it. Makes no directory and changes no file.
 */
#ifndef PREFORKD_APPEND_H
#define PREFORKD_APPEND_H

struct err;

/* Made with mode 0640 if it is not there. path is absolute. -1 and *err. */
int append_open(const char *path, struct err *err);
/* Could it be opened? Makes nothing. */
int append_check(const char *path, struct err *err);

#endif
