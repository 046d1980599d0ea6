/*
 * master: owns everything that lives as long as the daemon, and turns signals into what follows.
 */
#ifndef PREFORKD_MASTER_H
#define PREFORKD_MASTER_H

#include <stdbool.h>

#include "common/job.h"

struct conf;
struct conf_options;
struct err;
struct listen_set;
struct pidfile;

struct master_start {
	const struct conf_options *options; /* read again at a reload */
	struct conf *conf;                  /* checked; the master owns it from here */
	struct listen_set *listeners;       /* with what systemd handed in; owned from here */
	struct pidfile *pidfile;            /* locked; NULL: none */
	bool unclean;    /* the last master died: its workers may still be letting go */
	bool foreground; /* log to stderr, whatever the configuration says */
	job_body body;   /* what a worker runs */
};

/*
 * Opens the listeners and logs, detaches unless in the foreground, starts every pool, serves until
 * it is told to stop, and leaves nothing behind. The exit code of the command; what went wrong
 * before every pool was ready has been said on stderr.
 */
int master_main(const struct master_start *start);

#endif
