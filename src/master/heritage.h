/*
 * heritage: all that one image of the master leaves to the next, beside what each room knows
 * itself.
 */
#ifndef PREFORKD_HERITAGE_H
#define PREFORKD_HERITAGE_H

#include <stdbool.h>
#include <sys/resource.h>
#include <sys/types.h>

struct err;
struct fleet;
struct origin;
struct pidfile;
struct state_in;
struct state_out;

struct heritage {
	pid_t pid;            /* of the master; filled by heritage_save() */
	bool reload_wanted;   /* SIGHUP has come since the last reload began */
	bool upgrade_wanted;  /* SIGUSR2 has come since the last upgrade began */
	unsigned reloads;     /* and upgrades, begun since the start */
	int lifeline[2];      /* the write end is only ours: workers see its end when we die */
	struct rlimit nofile; /* what the first image was started with */
};

/* For state_drop(); NULL and *err. No transaction may be under way. */
struct state_out *heritage_save(struct heritage *h, const struct origin *origin,
	const struct pidfile *pidfile, const struct fleet *fleet, struct err *err);
/* The origin has been taken already. pid: of the master whose state it has to be. */
int heritage_restore(struct heritage *h, struct state_in *in, pid_t pid, struct pidfile **pidfile,
	struct fleet *fleet, struct err *err);

#endif
