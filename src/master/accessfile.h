/*
 * accessfile: the access log of one generation: opened by the master, written by the workers.
 *
 * A worker cannot open the file, so it gets a descriptor: the one message that waits in a socket
 * pair has it, and every worker looks at that without taking it out (MSG_PEEK). When the file is
 * opened again the message is replaced.
 */
#ifndef PREFORKD_ACCESSFILE_H
#define PREFORKD_ACCESSFILE_H

struct err;

struct accessfile {
	int fd;
	int ends[2]; /* we send into the first, workers look into the second */
};

#define ACCESSFILE_NONE                      \
	{                                    \
		.fd = -1, .ends = { -1, -1 } \
	}

/* -1 and *err when it cannot be had; then nothing stays open. */
int accessfile_open(struct accessfile *file, const char *path, struct err *err);
/* The same path anew, for workers that look from now on. -1 and *err: the old one stays. */
int accessfile_reopen(struct accessfile *file, const char *path, struct err *err);
/* Wakes the workers that wait for a request, so that they look. */
void accessfile_wake(const struct accessfile *file);
/* Before a worker is started: the message is there, whatever another one has done. */
void accessfile_mend(struct accessfile *file);
void accessfile_close(struct accessfile *file);

#endif
