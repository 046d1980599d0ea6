/*
 * worker: what happens between fork and the first request, in an order that matters.
 *
 * Descriptors first, privileges before anything foreign is loaded, and nothing is done after a step
 * that failed: the worker says why through the start pipe and is gone. Never returns to the
 * master's code, never uses what the master had open.
 */
#include "worker/worker.h"

#include <bsd/string.h>
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <paths.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/board.h"
#include "common/conf.h"
#include "common/fds.h"
#include "common/job.h"
#include "worker/accesslog.h"
#include "worker/report.h"
#include "worker/serve.h"

static void fail(const struct job *job, int code, const char *what) __attribute__((noreturn));

static void fail(const struct job *job, int code, const char *what)
{
	report_failure(job->start_fd, code, "%s: %s", what, strerror(errno));
}

static void arrange_descriptors(const struct job *job)
{
	int keep[CONF_LISTEN_MAX + 9];
	size_t n = 0;
	bool command = job->pool->kind == CONF_COMMAND;
	int out = job->output_fd >= 0 ? job->output_fd : job->null_fd;

	if (dup2(command ? job->listeners[0] : job->null_fd, STDIN_FILENO) < 0 ||
		dup2(out, STDOUT_FILENO) < 0 || dup2(out, STDERR_FILENO) < 0)
		fail(job, EX_OSERR, "cannot arrange descriptors");
	keep[n++] = job->start_fd;
	if (!command) {
		keep[n++] = job->shared_fd;
		keep[n++] = job->board_fd;
		keep[n++] = job->lifeline_fd;
		keep[n++] = job->bell_fd;
		if (job->access_fd >= 0)
			keep[n++] = job->access_fd;
		keep[n++] = job->handover[0];
		keep[n++] = job->handover[1];
		for (size_t i = 0; i < job->listener_count && i < CONF_LISTEN_MAX; i++)
			keep[n++] = job->listeners[i];
	}
	if (fds_close_others(keep, n) != 0)
		fail(job, EX_OSERR, "cannot close descriptors");
}

static void set_limit(const struct job *job, int resource, uint64_t value, const char *key)
{
	rlim_t limit = value == CONF_UNLIMITED ? RLIM_INFINITY : (rlim_t)value;
	struct rlimit both = { limit, limit };

	if (value != CONF_INHERIT && setrlimit((__rlimit_resource_t)resource, &both) != 0)
		fail(job, EX_NOPERM, key);
}

static void set_limits(const struct job *job)
{
	const struct conf_pool *pool = job->pool;

	umask(pool->umask);
	if (pool->limit_nofile == CONF_INHERIT)
		setrlimit(RLIMIT_NOFILE, &job->nofile); /* the master raised its own */
	set_limit(job, RLIMIT_NOFILE, pool->limit_nofile, "limit-nofile");
	set_limit(job, RLIMIT_CORE, pool->limit_core, "limit-core");
	set_limit(job, RLIMIT_AS, pool->limit_as, "limit-as");
	if (pool->nice != 0 && setpriority(PRIO_PROCESS, 0, pool->nice) != 0)
		fail(job, EX_NOPERM, "nice");
}

static void enter_root(const struct job *job)
{
	const struct conf_pool *pool = job->pool;

	if (pool->chroot != NULL && (chroot(pool->chroot) != 0 || chdir("/") != 0))
		fail(job, EX_UNAVAILABLE, "chroot");
}

/* After the privileges are gone: a directory that only root can enter is no place for the worker.
 */
static void enter_directory(const struct job *job)
{
	const char *directory = job->pool->directory;

	if (chdir(directory != NULL ? directory : "/") != 0)
		fail(job, EX_UNAVAILABLE, "directory");
}

/* Those of root went with the user. One who starts preforkd with ambient capabilities, as systemd
 * can, gives them to the master alone. */
static void drop_capabilities(const struct job *job)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { 0 };

	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (syscall(SYS_capset, &head, none) != 0)
		fail(job, EX_NOPERM, "cannot drop capabilities");
}

/* Everything, and then the proof: what was dropped cannot be taken back. */
static void drop_privileges(const struct job *job)
{
	const struct conf_pool *pool = job->pool;
	uid_t ru, eu, su;
	gid_t rg, eg, sg;

	syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL); /* not that of who started us */
	if (geteuid() == 0) {
		if (setgroups(pool->gid_count, pool->gids) != 0)
			fail(job, EX_NOPERM, "setgroups");
		if (setresgid(pool->gid, pool->gid, pool->gid) != 0)
			fail(job, EX_NOPERM, "setresgid");
		if (setresuid(pool->uid, pool->uid, pool->uid) != 0)
			fail(job, EX_NOPERM, "setresuid");
	}
	drop_capabilities(job);
	getresuid(&ru, &eu, &su);
	getresgid(&rg, &eg, &sg);
	if (ru != pool->uid || eu != pool->uid || su != pool->uid || rg != pool->gid ||
		eg != pool->gid || sg != pool->gid || setuid(0) == 0 || seteuid(0) == 0) {
		errno = EPERM;
		fail(job, EX_NOPERM, "the privileges could not be dropped for good");
	}
	if (pool->no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		fail(job, EX_OSERR, "no-new-privileges");
}

/* A change of user clears the death signal, so this comes after it; and a master that has died
 * before it sends none, so we look. */
static void tie_to_master(const struct job *job, int signo)
{
	if (prctl(PR_SET_PDEATHSIG, signo, 0, 0, 0) != 0)
		fail(job, EX_OSERR, "cannot ask for the death signal");
	if (getppid() != job->master)
		_exit(EX_TEMPFAIL);
}

static void keep_variable(char **environment, size_t *n, const char *name, char **from)
{
	size_t length = strlen(name);

	for (; from != NULL && *from != NULL; from++)
		if (strncmp(*from, name, length) == 0 && (*from)[length] == '=') {
			environment[(*n)++] = *from;
			return;
		}
}

/* For most environments, on the stack of a function that never returns: to ask for memory is to
 * copy several pages of the master's heap. */
#define ROOM_VARIABLES 32
struct room {
	char *variables[ROOM_VARIABLES];
	char home[128], user[64];
};

static size_t length_of(char *const *list)
{
	size_t n = 0;

	while (list != NULL && list[n] != NULL)
		n++;
	return n;
}

/* Later entries of the same name go: the configuration's own value wins. */
static void set_variable(char **environment, size_t *n, char *entry)
{
	size_t length = (size_t)(strchr(entry, '=') - entry) + 1;

	for (size_t i = 0; i < *n; i++)
		if (strncmp(environment[i], entry, length) == 0) {
			environment[i] = entry;
			return;
		}
	environment[(*n)++] = entry;
}

/* NULL: there is no memory for one that does not fit. */
static char *name_value(char *out, size_t size, const char *name, const char *value)
{
	char *other = NULL;

	strlcpy(out, name, size);
	if (strlcat(out, value, size) < size)
		return out;
	return asprintf(&other, "%s%s", name, value) < 0 ? NULL : other;
}

/* Cleared but for PATH, LANG and TZ of the master, HOME and USER of the pool's user, pass-env, env.
 */
static char **make_environment(const struct job *job, struct room *room)
{
	static const char *const kept[] = { "LANG", "TZ" };
	static char default_path[] = "PATH=" _PATH_STDPATH;
	const struct conf_pool *pool = job->pool;
	size_t n = 0, most = 8 + length_of(pool->pass_env) + length_of(pool->env);
	char **environment =
		most <= ROOM_VARIABLES ? room->variables : reallocarray(NULL, most, sizeof(char *));

	char *home = name_value(
		room->home, sizeof(room->home), "HOME=", pool->home != NULL ? pool->home : "/");
	char *user = name_value(room->user, sizeof(room->user),
		"USER=", pool->user_name != NULL ? pool->user_name : "");

	if (environment == NULL || home == NULL || user == NULL)
		fail(job, EX_OSERR, "cannot make the environment");
	keep_variable(environment, &n, "PATH", job->environ);
	if (n == 0)
		environment[n++] = default_path;
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
		keep_variable(environment, &n, kept[i], job->environ);
	environment[n++] = home;
	environment[n++] = user;
	for (char **name = pool->pass_env; name != NULL && *name != NULL; name++) {
		char *entry[1] = { NULL };
		size_t found = 0;

		keep_variable(entry, &found, *name, job->environ);
		if (found > 0)
			set_variable(environment, &n, entry[0]);
	}
	for (char **e = pool->env; e != NULL && *e != NULL; e++)
		set_variable(environment, &n, *e);
	environment[n] = NULL;
	return environment;
}

/* SIGPIPE is ignored in no program: many rely on its default, and libfcgi sets what it wants. */
static void run_program(const struct job *job, char **environment) __attribute__((noreturn));

static void run_program(const struct job *job, char **environment)
{
	tie_to_master(job, job->pool->stop_signal);
	execve(job->pool->program, job->pool->argv, environment);
	fail(job, EX_UNAVAILABLE, job->pool->program);
}

void worker_main(const struct job *job)
{
	struct room room;
	struct accesslog log;
	struct board_seat seat;
	bool command = job->pool->kind == CONF_COMMAND;

	arrange_descriptors(job);
	if (!command && board_sit(job->shared_fd, job->board_fd, job->bell_fd, &seat) != 0)
		fail(job, EX_OSERR, "cannot map the scoreboard");
	char **environment = make_environment(job, &room);
	set_limits(job);
	if (!command) {
		environ = environment; /* the time zone is there */
		if (!accesslog_open(&log, job, &seat))
			fail(job, EX_OSERR, "cannot get the access log from the master");
	}
	enter_root(job);
	drop_privileges(job);
	enter_directory(job);
	if (command)
		run_program(job, environment);
	if (job->pool->limit_core != 0)
		prctl(PR_SET_DUMPABLE, 1, 0, 0, 0); /* lost with the user; needed for a core */
	serve(job, &seat, &log);
}
