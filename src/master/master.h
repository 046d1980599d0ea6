/*
 * master: owns everything that lives as long as the daemon, and turns signals into what follows.
 */
#ifndef PREFORKD_MASTER_H
#define PREFORKD_MASTER_H

#include <stdbool.h>

#include "common/gatejob.h"
#include "common/job.h"

struct conf;
struct conf_options;
struct err;
struct listen_set;
struct origin;
struct pidfile;
struct state_in;

struct master_start {
	const struct origin *origin;        /* for an upgrade */
	const struct conf_options *options; /* read again at a reload */
	struct conf *conf;                  /* checked; the master owns it from here */
	struct listen_set *listeners;       /* with what systemd handed in; owned from here */
	struct pidfile *pidfile;            /* locked; NULL: none */
	bool unclean;      /* the last master died: its workers may still be letting go */
	bool foreground;   /* log to stderr, whatever the configuration says */
	job_body body;     /* what a worker runs */
	gatejob_body gate; /* what the gate runs */
	const char *version;
	const char *lost; /* why an image could not take over from the one before: then it starts
			     anew in the same process. NULL: an ordinary start */
};

/*
 * Opens the listeners and logs, detaches unless in the foreground, starts every pool, serves until
 * it is told to stop, and leaves nothing behind. The exit code of the command; what went wrong
 * before every pool was ready has been said on stderr.
 */
int master_main(const struct master_start *start);

/*
 * The next image of a master that was told to upgrade: takes over its workers, listeners and
 * pidfile, and then reloads. start has no conf and no pidfile, and its set of listeners is empty.
 * -1 and *err when that is not possible; then nothing may be used or freed, and no worker was
 * touched.
 */
int master_resume(
	const struct master_start *start, struct state_in *state, int *code, struct err *err);
/* Would it take over from the master that is our parent? After it nothing may be freed. */
int master_rehearse(const struct master_start *start, struct state_in *state, struct err *err);

#endif
