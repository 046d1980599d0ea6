/*
 * gate: from the master's fork to an unprivileged process with five descriptors, and its end.
 *
 * It keeps nothing that it could need privileges for: the master has opened its sockets, and does
 * what is asked for if it finds it right. It cannot start processes, and cannot be traced by those
 * of its user.
 */
#include "gate/gate.h"

#include <bsd/unistd.h>
#include <event2/event.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/fds.h"
#include "gate/line.h"
#include "gate/route.h"

#define DESCRIPTORS 1024
#define LAST_WORDS 500 /* ms for answers that are on their way when the master goes */
#define PARTING 300    /* ms for requests that are on their way when another gate takes over */

struct gate {
	struct event_base *base;
	struct line *line;
	struct site *site;
	struct event *deadline;
	bool relieved;
};

static void arrange_descriptors(const struct gatejob *job)
{
	int keep[] = { job->line_fd, job->ledger_fd, job->control_fd, job->http_fd };
	int null = open("/dev/null", O_RDWR | O_CLOEXEC | O_NOCTTY);

	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0 ||
		dup2(null, STDERR_FILENO) < 0 ||
		fds_close_others(keep, sizeof(keep) / sizeof(keep[0])) != 0)
		_exit(EX_OSERR);
}

static void set_limits(void)
{
	const struct rlimit files = { DESCRIPTORS, DESCRIPTORS }, none = { 0, 0 };

	umask(077);
	if (chdir("/") != 0 || setrlimit(RLIMIT_NOFILE, &files) != 0 ||
		setrlimit(RLIMIT_CORE, &none) != 0)
		_exit(EX_OSERR);
}

/* Everything, and then the proof: what was dropped cannot be taken back. */
static void drop_privileges(const struct gatejob *job)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct nothing[2] = { 0 };
	const struct rlimit none = { 0, 0 };
	uid_t ru, eu, su;

	syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
	if (job->drops &&
		(setgroups(0, NULL) != 0 || setresgid(job->gid, job->gid, job->gid) != 0 ||
			setresuid(job->uid, job->uid, job->uid) != 0))
		_exit(EX_NOPERM);
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	getresuid(&ru, &eu, &su);
	if (syscall(SYS_capset, &head, nothing) != 0 || ru != job->uid || eu != job->uid ||
		su != job->uid || eu == 0 || setuid(0) == 0 || seteuid(0) == 0)
		_exit(EX_NOPERM);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
		prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 || setrlimit(RLIMIT_NPROC, &none) != 0)
		_exit(EX_OSERR);
}

static void be_quiet(int severity, const char *text)
{
	(void)severity, (void)text; /* of libevent, about what clients do */
}

static void leave_in(struct gate *g, int ms)
{
	const struct timeval tv = { 0, ms * 1000 };

	if (event_add(g->deadline, &tv) != 0)
		_exit(EX_OSERR);
}

static void on_deadline(int fd, short what, void *arg)
{
	struct gate *g = arg;

	(void)fd, (void)what;
	if (!g->relieved)
		_exit(EX_OK);
	route_leave(g->site);
}

static void on_end(void *arg)
{
	struct gate *g = arg;

	g->relieved = false;
	route_leave(g->site);
	leave_in(g, LAST_WORDS);
}

static void on_relieved(void *arg)
{
	struct gate *g = arg;

	g->relieved = true;
	route_close(g->site);
	leave_in(g, PARTING);
}

static void on_empty(void *arg)
{
	(void)arg;
	_exit(EX_OK);
}

static void on_line_ready(const struct gatejob *job, struct gate *g)
{
	const struct line_news news = { .ended = on_end, .relieved = on_relieved, .arg = g };

	g->line = line_open(g->base, job->line_fd, job->ledger_fd, &news);
	g->site = g->line == NULL ? NULL : route_open(g->base, job, g->line, on_empty, g);
	g->deadline = evtimer_new(g->base, on_deadline, g);
	if (g->site == NULL || g->deadline == NULL)
		_exit(EX_OSERR);
}

void gate_main(const struct gatejob *job)
{
	struct gate g = { 0 };

	arrange_descriptors(job);
	signal(SIGPIPE, SIG_IGN);
	set_limits();
	drop_privileges(job);
	setproctitle("gate");
	if (getppid() != job->master)
		_exit(EX_TEMPFAIL);
	event_set_log_callback(be_quiet);
	g.base = event_base_new();
	if (g.base == NULL)
		_exit(EX_OSERR);
	on_line_ready(job, &g);
	event_base_dispatch(g.base);
	_exit(EX_SOFTWARE);
}
