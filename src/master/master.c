/*
 * master: the event loop, from signal to command to action.
 *
 * Signals become events of the loop, nothing runs in a handler; each turn of the loop ends with one
 * reconcile, which acts and says when it wants to run next. A start is the first reload: from
 * nothing to generation 1. Until it is done any failure ends the daemon with a reason; after that,
 * failures are logged and survived.
 */
#include "master/master.h"

#include <bsd/unistd.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "common/conf.h"
#include "common/err.h"
#include "common/log.h"
#include "master/check.h"
#include "master/daemon.h"
#include "master/fleet.h"
#include "master/listen.h"
#include "master/notify.h"
#include "master/watch.h"

#define RETRY_MS 20        /* while the orphans of a dead master hold an address */
#define RETRY_FRESH_MS 500 /* so long even when nothing says that there was one */

#define SIGNALS(X)         \
	X(SIGTERM, stop)   \
	X(SIGQUIT, stop)   \
	X(SIGINT, cut)     \
	X(SIGHUP, reload)  \
	X(SIGUSR1, reopen) \
	X(SIGTTIN, more)   \
	X(SIGTTOU, fewer)  \
	X(SIGCHLD, reap)

#define X(signo, verb) +1
#define SIGNAL_COUNT (0 SIGNALS(X))
enum { SIGNALS_HANDLED = SIGNAL_COUNT };
#undef X

struct master {
	struct master_start start;
	struct fleet *fleet;
	bool started;       /* every pool has been ready once */
	bool reload_wanted; /* SIGHUP has come since the last reload began */
	bool stopping;
	int exit_code;
	unsigned reloads; /* begun since the start */
	struct event_base *base;
	struct event *timer, *watchdog, *signals[SIGNALS_HANDLED];
	size_t signal_count;
	struct watch_context context;
	int lifeline[2]; /* the write end is only ours: workers see its end when we die */
};

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* What became of the last reload: for those who asked by signal, and for systemd. */
static void tell_result(const struct master *m, const char *result)
{
	char line[700];

	snprintf(line, sizeof(line), "%u %s", m->reloads, result);
	daemon_write_result(m->start.pidfile, line);
}

static const char *strength(const struct master *m, char *out, size_t size)
{
	unsigned workers = fleet_ready(m->fleet);
	size_t pools = fleet_conf(m->fleet)->pool_count;

	snprintf(out, size, "%u worker%s in %zu pool%s", workers, workers == 1 ? "" : "s", pools,
		pools == 1 ? "" : "s");
	return out;
}

static void notify_serving(const struct master *m, const char *failure)
{
	char serving[64];

	notify_send("READY=1\nSTATUS=Serving with %s%s%.400s",
		strength(m, serving, sizeof(serving)),
		failure != NULL ? "; last reload failed: " : "", failure != NULL ? failure : "");
}

/* The sink follows the configuration; one that cannot be opened leaves the old one in use. */
static void follow_log(const struct master *m)
{
	const struct conf *conf = fleet_conf(m->fleet);
	struct err err;

	if (m->start.foreground)
		log_set_level(conf->log_level);
	else if (log_open(conf->log, conf->log_level, &err) != 0)
		log_err("the log stays where it is: %s", err.text);
}

static void on_committed(struct master *m)
{
	char serving[64];

	if (m->started) {
		follow_log(m);
		log_notice("reload %u done: %s", m->reloads, strength(m, serving, sizeof(serving)));
	} else {
		m->started = true;
		log_notice("serving with %s", strength(m, serving, sizeof(serving)));
		listen_drop_unused(m->start.listeners);
		daemon_report(0, "");
	}
	tell_result(m, "ok");
	notify_serving(m, NULL);
}

static void on_reload_failed(struct master *m, const struct err *err)
{
	char result[600];

	log_err("reload %u failed, the old workers serve on: %s", m->reloads, err->text);
	snprintf(result, sizeof(result), "failed: %s", err->text);
	tell_result(m, result);
	notify_serving(m, err->text);
}

static void begin_stop(struct master *m)
{
	m->stopping = true;
	notify_send("STOPPING=1\nSTATUS=Stopping");
	fleet_stop(m->fleet, now_ms());
}

static void give_up_start(struct master *m, int code, const char *why)
{
	m->exit_code = code;
	log_err("cannot start: %s", why);
	if (!m->start.foreground)
		daemon_report(code, why);
	begin_stop(m);
	fleet_cut(m->fleet, now_ms());
}

static void begin_reload(struct master *m)
{
	struct err_list errors = { 0 };
	struct err err;
	uint64_t now = now_ms();

	m->reload_wanted = false;
	m->reloads++;
	notify_send("RELOADING=1\nMONOTONIC_USEC=%" PRIu64 "000\nSTATUS=Reloading", now);
	tell_result(m, "running");
	log_notice("reload %u begins", m->reloads);
	struct conf *conf = conf_load(m->start.options, &errors);
	if (conf != NULL)
		check_conf(conf, !m->start.foreground, &errors);
	else if (errors.count == 0)
		err_list_add(&errors, EX_OSERR, "out of memory");
	if (errors.count > 0) {
		for (size_t i = 1; i < errors.count; i++)
			log_err("%s", errors.items[i].text);
		err = errors.items[0];
		conf_free(conf);
		err_list_free(&errors);
		on_reload_failed(m, &err);
	} else if (fleet_prepare(m->fleet, conf, now, &err) != 0) {
		conf_free(conf);
		on_reload_failed(m, &err);
	}
}

static void on_cut(int signo, short what, void *arg)
{
	struct master *m = arg;

	(void)what;
	log_notice("SIG%s: stops at once", sigabbrev_np(signo));
	if (!m->stopping && !m->started)
		give_up_start(m, EX_UNAVAILABLE, "told to stop before every pool was ready");
	else if (!m->stopping)
		begin_stop(m);
	fleet_cut(m->fleet, now_ms());
}

static void on_stop(int signo, short what, void *arg)
{
	struct master *m = arg;

	if (m->stopping || !m->started) {
		on_cut(signo, what, arg);
		return;
	}
	log_notice("SIG%s: stops; running requests may finish", sigabbrev_np(signo));
	begin_stop(m);
}

static void on_reload(int signo, short what, void *arg)
{
	struct master *m = arg;

	(void)signo, (void)what;
	m->reload_wanted = true;
}

static void on_reopen(int signo, short what, void *arg)
{
	struct master *m = arg;
	struct err err;

	(void)signo, (void)what;
	if (log_reopen(&err) != 0)
		log_err("the log stays in the old file: %s", err.text);
	fleet_reopen(m->fleet);
	log_notice("logs reopened");
}

static void on_more(int signo, short what, void *arg)
{
	struct master *m = arg;

	(void)signo, (void)what;
	fleet_scale(m->fleet, 1, now_ms());
}

static void on_fewer(int signo, short what, void *arg)
{
	struct master *m = arg;

	(void)signo, (void)what;
	fleet_scale(m->fleet, -1, now_ms());
}

/* As waitpid() would have it. */
static int wait_status(const siginfo_t *child)
{
	switch (child->si_code) {
	case CLD_EXITED:
		return W_EXITCODE(child->si_status, 0);
	case CLD_STOPPED:
	case CLD_TRAPPED:
		return W_STOPCODE(child->si_status);
	case CLD_DUMPED:
		return W_EXITCODE(0, child->si_status) | WCOREFLAG;
	default:
		return W_EXITCODE(0, child->si_status);
	}
}

/* Looks before it reaps: while the dead child is there its pid cannot be given to another. As pid 1
 * we also get children that we have not forked. */
static void on_reap(int signo, short what, void *arg)
{
	struct master *m = arg;
	const int any = WEXITED | WSTOPPED | WNOHANG;
	siginfo_t child;

	(void)signo, (void)what;
	for (;;) {
		child.si_pid = 0;
		if (waitid(P_ALL, 0, &child, any | WNOWAIT) != 0 || child.si_pid == 0)
			return;
		int status = wait_status(&child);
		if (WIFSTOPPED(status)) {
			/* Taken first: what follows may let it stop again. Not its death. */
			pid_t pid = child.si_pid;

			waitid(P_PID, (id_t)pid, &child, WSTOPPED | WNOHANG);
			fleet_stopped(m->fleet, pid, status, now_ms());
			continue;
		}
		if (!fleet_died(m->fleet, child.si_pid, status, now_ms()))
			log_debug("reaped process %d, which is none of ours", (int)child.si_pid);
		waitpid(child.si_pid, NULL, 0);
	}
}

static void on_timer(int fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg; /* the loop reconciles after every event */
}

static void on_watchdog(int fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;
	notify_send("WATCHDOG=1");
}

static int add_signals(struct master *m)
{
#define X(signo, verb)                                                            \
	m->signals[m->signal_count] = evsignal_new(m->base, signo, on_##verb, m); \
	if (m->signals[m->signal_count] == NULL ||                                \
		event_add(m->signals[m->signal_count++], NULL) != 0)              \
		return -1;
	SIGNALS(X)
#undef X
	signal(SIGPIPE, SIG_IGN);
	signal(SIGUSR2, SIG_IGN);
	return 0;
}

static int make_loop(struct master *m)
{
	uint64_t period = notify_watchdog();
	struct timeval every = { .tv_sec = (time_t)(period / 1000),
		.tv_usec = (suseconds_t)(period % 1000) * 1000 };

	m->base = event_base_new();
	if (m->base == NULL || (m->timer = evtimer_new(m->base, on_timer, m)) == NULL)
		return -1;
	if (period > 0) {
		m->watchdog = event_new(m->base, -1, EV_PERSIST, on_watchdog, m);
		if (m->watchdog == NULL || event_add(m->watchdog, &every) != 0)
			return -1;
	}
	m->context.base = m->base;
	return add_signals(m);
}

static uint64_t reconcile(struct master *m)
{
	uint64_t next;
	struct err err;

	if (m->reload_wanted && m->started && !m->stopping && !fleet_is_changing(m->fleet))
		begin_reload(m);
	switch (fleet_reconcile(m->fleet, now_ms(), &next, &err)) {
	case FLEET_COMMITTED:
		on_committed(m);
		break;
	case FLEET_FAILED:
		if (m->started)
			on_reload_failed(m, &err);
		else
			give_up_start(m, err.code, err.text);
		break;
	case FLEET_NO_NEWS:
		break;
	}
	return next;
}

static void loop(struct master *m)
{
	for (;;) {
		uint64_t next = reconcile(m);

		if (m->stopping && fleet_is_empty(m->fleet))
			return;
		event_del(m->timer);
		if (next != UINT64_MAX) {
			uint64_t now = now_ms(), wait = next > now ? next - now : 0;
			struct timeval tv = { .tv_sec = (time_t)(wait / 1000),
				.tv_usec = (suseconds_t)(wait % 1000) * 1000 };

			event_add(m->timer, &tv);
		}
		event_base_loop(m->base, EVLOOP_ONCE);
	}
}

/* Until the loop handles them, signals wait: nothing may be left behind half made. */
static void hold_signals(bool hold)
{
	sigset_t set;

	sigemptyset(&set);
#define X(signo, verb) sigaddset(&set, signo);
	SIGNALS(X)
#undef X
	sigprocmask(hold ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
}

static bool told_to_stop(void)
{
	sigset_t pending;

	return sigpending(&pending) == 0 &&
	       (sigismember(&pending, SIGTERM) || sigismember(&pending, SIGINT) ||
		       sigismember(&pending, SIGQUIT));
}

static uint64_t longest_stop(const struct conf *conf)
{
	uint64_t longest = 0;

	for (size_t i = 0; i < conf->pool_count; i++)
		if (conf->pools[i]->stop_timeout > longest)
			longest = conf->pools[i]->stop_timeout;
	return longest;
}

/* The orphans of a master that was killed let go of their listeners within moments if they run
 * inside preforkd; programs hold theirs until their request is done. */
static int prepare_patiently(struct master *m, struct err *err)
{
	uint64_t patience = m->start.unclean ? longest_stop(m->start.conf) : RETRY_FRESH_MS;
	uint64_t began = now_ms();

	while (fleet_prepare(m->fleet, m->start.conf, now_ms(), err) != 0) {
		if (err->code != EX_UNAVAILABLE || now_ms() - began >= patience || told_to_stop()) {
			conf_free(m->start.conf);
			return -1;
		}
		nanosleep(&(struct timespec){ .tv_nsec = RETRY_MS * 1000000L }, NULL);
	}
	return 0;
}

static int set_up(struct master *m, struct err *err)
{
	const char *sink = m->start.foreground ? "stderr" : m->start.conf->log;
	int level = m->start.conf->log_level;
	char title[256];

	snprintf(title, sizeof(title), "master %s",
		m->start.conf->file != NULL ? m->start.conf->file : "(command line)");
	if (pipe2(m->lifeline, O_CLOEXEC) != 0)
		return err_set(err, EX_OSERR, "cannot make a pipe: %s", strerror(errno));
	m->context.lifeline_fd = m->lifeline[0];
	m->context.body = m->start.body;
	m->context.environ = environ;
	if (getrlimit(RLIMIT_NOFILE, &m->context.nofile) == 0) {
		struct rlimit raised = { m->context.nofile.rlim_max, m->context.nofile.rlim_max };

		setrlimit(RLIMIT_NOFILE, &raised);
	}
	/* Detached first: listeners and scoreboards belong to the process that serves, and the
	 * command that waits hears of every failure all the same. */
	if (!m->start.foreground && daemon_detach(err) != 0)
		return -1;
	if (prepare_patiently(m, err) != 0)
		return -1;
	/* A log that cannot be written must not be found out later. */
	if (log_open(sink, level, err) != 0 || daemon_write_pid(m->start.pidfile, err) != 0)
		return -1;
	if (make_loop(m) != 0)
		return err_set(err, EX_OSERR, "cannot make the event loop: %s", strerror(errno));
	setproctitle("%s", title);
	return 0;
}

static void clean_up(struct master *m)
{
	fleet_free(m->fleet);
	for (size_t i = 0; i < m->signal_count; i++)
		event_free(m->signals[i]);
	if (m->timer != NULL)
		event_free(m->timer);
	if (m->watchdog != NULL)
		event_free(m->watchdog);
	if (m->base != NULL)
		event_base_free(m->base);
	daemon_unlock(m->start.pidfile);
}

int master_main(const struct master_start *start)
{
	static struct master master;
	struct master *m = &master;
	struct err err = { 0 };

	m->start = *start;
	hold_signals(true);
	m->fleet = fleet_new(&m->context, start->listeners);
	if (m->fleet == NULL) {
		daemon_report(EX_OSERR, "out of memory");
		return EX_OSERR;
	}
	if (set_up(m, &err) != 0) {
		clean_up(m);
		daemon_report(err.code, err.text);
		return err.code;
	}
	hold_signals(false);
	loop(m);
	hold_signals(true); /* one more TERM must not end us between two steps of the cleaning */
	log_notice("stopped");
	clean_up(m);
	return m->exit_code;
}
