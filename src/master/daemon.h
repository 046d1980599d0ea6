/*
 * daemon: from a command at a terminal to a daemon: pidfile, detaching, and the word to whoever
 * waits.
 */
#ifndef PREFORKD_DAEMON_H
#define PREFORKD_DAEMON_H

#include <stdbool.h>
#include <sys/types.h>

struct err;
struct state_in;
struct state_out;

struct pidfile; /* locked; exactly one process of a path has it */

/* Opens 0-2 on /dev/null where they are closed, so that no other file gets these numbers. */
void daemon_fill_standard(void);

/*
 * Locks the pidfile, without writing a pid. NULL and *err: EX_CANTCREAT, or EX_TEMPFAIL (75)
 * when another process holds it. *unclean: a pid stands in it, so the last master died without
 * cleaning up.
 */
struct pidfile *daemon_lock(const char *path, bool *unclean, struct err *err);
int daemon_write_pid(struct pidfile *pidfile, struct err *err);
/* Removes it if it is still the one that was locked. */
void daemon_unlock(struct pidfile *pidfile);
/* For an upgrade: the lock goes on; there may be none. */
void daemon_save(const struct pidfile *pidfile, struct state_out *out);
int daemon_restore(struct pidfile **pidfile, struct state_in *in, struct err *err);
/* Lets go of everything that an earlier image has left to this one, and tells its workers to stop:
 * nobody knows them. */
void daemon_abandon(void);
/* For -t: the pid that holds the pidfile, 0 when nobody does; -1 and *err when a start would fail.
 */
pid_t daemon_holder(const char *path, struct err *err);

/* One line about the last reload, beside the pidfile, for those who asked for it by signal. */
void daemon_write_result(const struct pidfile *pidfile, const char *line);

/*
 * Forks; the parent waits for daemon_report() and exits as it says, or with EX_OSERR and a
 * sentence if the child dies before. The child is in a new session, in "/", and returns. */
int daemon_detach(struct err *err);
/* Tells the waiting parent: 0, or the exit code and the sentence. Once; then 0-2 go to /dev/null.
 * Without daemon_detach() it prints the sentence, and that is all. */
void daemon_report(int code, const char *sentence);

#endif
