/*
 * heritage: all that one image of the master leaves to the next, beside what each room knows
 * itself.
 */
#ifndef PREFORKD_HERITAGE_H
#define PREFORKD_HERITAGE_H

#include <stdbool.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "common/ledger.h"

struct desk;
struct err;
struct fleet;
struct orders;
struct origin;
struct pidfile;
struct state_in;
struct state_out;

struct heritage {
	pid_t pid;            /* of the master; filled by heritage_save() */
	bool reload_wanted;   /* SIGHUP has come since the last reload began */
	bool upgrade_wanted;  /* SIGUSR2 has come since the last upgrade began */
	unsigned reloads;     /* and upgrades, begun since the start */
	bool upgrading;       /* the reload that runs ends an upgrade */
	int lifeline[2];      /* the write end is only ours: workers see its end when we die */
	struct rlimit nofile; /* what the first image was started with */
	uint64_t began;       /* ms of the wall clock: the start of the first image */
	struct ledger_changes reload_history, upgrade_history;
};

/* What is handed over beside it. */
struct heritage_parts {
	const struct origin *origin;
	struct pidfile *pidfile;
	struct fleet *fleet;
	struct desk *desk;
	struct orders *orders;
};

/* Of a daemon that starts: makes the life-line, and raises the limit of open descriptors, for the
 * master alone. */
int heritage_begin(struct heritage *h, struct err *err);

/* For state_drop(); NULL and *err. No transaction may be under way. */
struct state_out *heritage_save(
	struct heritage *h, const struct heritage_parts *parts, struct err *err);
/* The origin has been taken already; fills in the pidfile. pid: of the master whose state it has to
 * be. */
int heritage_restore(struct heritage *h, struct state_in *in, pid_t pid,
	struct heritage_parts *parts, struct err *err);

#endif
