/*
 * door: one of the two listening sockets that the gate accepts on, opened by the master.
 */
#ifndef PREFORKD_DOOR_H
#define PREFORKD_DOOR_H

#include <stdbool.h>
#include <sys/types.h>

#include "master/bind.h"

struct conf;
struct err;
struct err_list;

struct door {
	int fd; /* -1: it is not open */
	struct bind_file file;
};
#define DOOR_NONE                              \
	{                                      \
		.fd = -1, .file = {.dir = -1 } \
	}

/* text: an absolute path or HOST:PORT. A path gets mode 0600, or 0660 with that group. */
int door_open(struct door *door, const char *text, bool grouped, gid_t gid, struct err *err);
/* Before somebody else gets it: it listens, and accepting never waits, whatever the last one has
 * done to the socket that it shared with us. */
int door_mend(struct door *door, bool grouped, gid_t gid, struct err *err);
/* Closes it, and removes its file. */
void door_close(struct door *door);

/* For -t: both of the configuration must be free, or in use by process "ours" (0: none). */
void door_check(const struct conf *conf, int ours, struct err_list *errors);

#endif
