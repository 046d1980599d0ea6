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
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/conf.h"
#include "common/err.h"
#include "common/log.h"
#include "master/children.h"
#include "master/daemon.h"
#include "master/desk.h"
#include "master/events.h"
#include "master/fleet.h"
#include "master/heritage.h"
#include "master/listen.h"
#include "master/notify.h"
#include "master/orders.h"
#include "master/origin.h"
#include "master/patience.h"
#include "master/policy.h"
#include "master/reload.h"
#include "master/succession.h"
#include "master/tell.h"
#include "master/watch.h"

#define SIGNALS(X)          \
	X(SIGTERM, stop)    \
	X(SIGQUIT, stop)    \
	X(SIGINT, cut)      \
	X(SIGHUP, reload)   \
	X(SIGUSR1, reopen)  \
	X(SIGUSR2, upgrade) \
	X(SIGTTIN, more)    \
	X(SIGTTOU, fewer)   \
	X(SIGCHLD, reap)

#define X(signo, verb) +1
#define SIGNAL_COUNT (0 SIGNALS(X))
enum { SIGNALS_HANDLED = SIGNAL_COUNT };
#undef X

struct master {
	struct master_start start;
	struct fleet *fleet;
	bool started; /* every pool has been ready once */
	bool stopping;
	bool over; /* nobody is left */
	int exit_code;
	struct heritage heritage;
	struct heritage_parts parts; /* what else there is to hand over */
	struct reload reload;
	struct succession succession;
	struct orders orders;
	struct event_base *base;
	struct event *timer, *signals[SIGNALS_HANDLED];
	size_t signal_count;
	struct watch_context context;
};

static void on_committed(struct master *m)
{
	char serving[64];

	m->orders.herald.phase = LEDGER_SERVING;
	if (m->started) {
		reload_done(&m->reload);
		return;
	}
	m->started = true;
	log_notice("serving with %s", tell_strength(m->fleet, serving, sizeof(serving)));
	listen_drop_unused(m->start.listeners);
	tell_done(m->start.pidfile, m->heritage.reloads, m->fleet);
	daemon_report(0, "");
}

static void begin_stop(struct master *m)
{
	m->stopping = true;
	m->orders.herald.phase = LEDGER_STOPPING;
	orders_refuse(&m->orders, "preforkd stops");
	upgrade_cancel(&m->succession.upgrade);
	notify_send("STOPPING=1\nSTATUS=Stopping");
	fleet_stop(m->fleet, clock_ms());
}

static void give_up_start(struct master *m, int code, const char *why)
{
	m->exit_code = code;
	log_err("cannot start: %s", why);
	if (!m->start.foreground)
		daemon_report(code, why);
	begin_stop(m);
	fleet_cut(m->fleet, clock_ms());
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
	fleet_cut(m->fleet, clock_ms());
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
	m->heritage.reload_wanted = true;
}

static void on_upgrade(int signo, short what, void *arg)
{
	struct master *m = arg;

	(void)signo, (void)what;
	m->heritage.upgrade_wanted = true;
}

static void reopen(struct master *m)
{
	struct err err;
	bool done = log_reopen(&err) == 0;

	orders_begin(&m->orders, GATEJOB_REOPEN, NULL);
	if (!done)
		log_err("the log stays in the old file: %s", err.text);
	done = fleet_reopen(m->fleet, &err) == 0 && done;
	log_notice(done ? "logs reopened" : "logs reopened, but not all of them");
	orders_end(&m->orders, GATEJOB_REOPEN, done ? GATEJOB_DONE : GATEJOB_FAILED,
		done ? "logs reopened" : err.text);
}

static void on_reopen(int signo, short what, void *arg)
{
	(void)signo, (void)what;
	reopen(arg);
}

static void on_more(int signo, short what, void *arg)
{
	(void)signo, (void)what;
	fleet_scale(((struct master *)arg)->fleet, 1, clock_ms());
}

static void on_fewer(int signo, short what, void *arg)
{
	(void)signo, (void)what;
	fleet_scale(((struct master *)arg)->fleet, -1, clock_ms());
}

static void on_death(pid_t pid, int status, void *arg)
{
	struct master *m = arg;

	if (pid == desk_pid(m->parts.desk))
		orders_forget(&m->orders);
	if (!upgrade_died(&m->succession.upgrade, pid, status) &&
		!desk_died(m->parts.desk, pid, status, clock_ms()) &&
		!fleet_died(m->fleet, pid, status, clock_ms()))
		log_debug("reaped process %d, which is none of ours", (int)pid);
}

static void on_stopped(pid_t pid, int status, void *arg)
{
	struct master *m = arg;

	fleet_stopped(m->fleet, pid, status, clock_ms());
}

static void on_reap(int signo, short what, void *arg)
{
	(void)signo, (void)what;
	children_reap(on_death, on_stopped, arg);
}

static void on_timer(int fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg; /* the loop reconciles after every event */
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
	return 0;
}

static int make_loop(struct master *m, struct err *err)
{
	m->timer = evtimer_new(m->base, on_timer, m);
	if (m->timer == NULL || notify_keep_alive(m->base) != 0 || add_signals(m) != 0)
		return err_set(err, EX_OSERR, "cannot make the event loop: %s", strerror(errno));
	return 0;
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

/* Signals that were taken but not acted on would be lost with this image. */
static void hand_over(struct master *m)
{
	struct err err;
	uint64_t next;

	hold_signals(true);
	event_base_loop(m->base, EVLOOP_NONBLOCK);
	fleet_reconcile(m->fleet, clock_ms(), &next, &err);
	if (fleet_must_wait(m->fleet))
		m->heritage.upgrade_wanted = true; /* it began just now: asked again after it */
	else if (!m->stopping)
		succession_execute(&m->succession);
	hold_signals(false);
}

static bool may_change(const struct master *m)
{
	return m->started && !m->stopping && !fleet_is_changing(m->fleet) &&
	       !upgrade_is_underway(&m->succession.upgrade);
}

/* What came through the gate. */
static void obey(struct master *m)
{
	struct orders *o = &m->orders;

	orders_take(o, clock_ms());
	m->heritage.reload_wanted = m->heritage.reload_wanted || o->reload;
	m->heritage.upgrade_wanted = m->heritage.upgrade_wanted || o->upgrade;
	if (o->reopen)
		reopen(m);
	if (o->stop) {
		orders_begin(o, GATEJOB_STOP, NULL);
		orders_end(o, GATEJOB_STOP, GATEJOB_DONE, "stopping");
	}
	if (o->stop && !m->stopping && m->started)
		begin_stop(m);
	else if (o->stop && !m->stopping)
		give_up_start(m, EX_UNAVAILABLE, "told to stop before every pool was ready");
	o->reload = o->upgrade = o->reopen = o->stop = false;
}

static void change(struct master *m)
{
	const char *pool = orders_pool(&m->orders);

	if ((m->heritage.reload_wanted || pool != NULL) && may_change(m)) {
		reload_begin(&m->reload, m->heritage.reload_wanted ? NULL : pool);
		m->heritage.reload_wanted = false;
	}
	if (m->heritage.upgrade_wanted && may_change(m) && !fleet_must_wait(m->fleet))
		succession_begin(&m->succession, m->base, clock_ms());
	m->context.upgrade_waits =
		m->heritage.upgrade_wanted || upgrade_is_underway(&m->succession.upgrade);
}

static uint64_t reconcile(struct master *m)
{
	uint64_t next;
	struct err err;

	obey(m);
	change(m);
	switch (fleet_reconcile(m->fleet, clock_ms(), &next, &err)) {
	case FLEET_COMMITTED:
		on_committed(m);
		break;
	case FLEET_FAILED:
		if (m->started)
			reload_failed(&m->reload, &err);
		else
			give_up_start(m, err.code, err.text);
		break;
	case FLEET_NO_NEWS:
		break;
	}
	if (succession_follow(&m->succession, clock_ms(), &next)) {
		hand_over(m);
		next = 0;
	}
	next = policy_earlier(next, orders_follow(&m->orders, clock_ms()));
	m->over = m->stopping && fleet_is_empty(m->fleet) && desk_end(m->parts.desk, clock_ms());
	return policy_earlier(
		next, desk_follow(m->parts.desk, m->base, orders_owed(&m->orders), clock_ms()));
}

static void loop(struct master *m)
{
	for (;;) {
		uint64_t next = reconcile(m);

		if (m->over)
			return;
		event_del(m->timer);
		if (next != UINT64_MAX) {
			uint64_t now = clock_ms(), left = next > now ? next - now : 0;
			struct timeval tv = { (time_t)(left / 1000),
				(suseconds_t)(left % 1000) * 1000 };

			event_add(m->timer, &tv);
		}
		event_base_loop(m->base, EVLOOP_ONCE);
	}
}

static void set_title(const struct conf *conf)
{
	setproctitle("master %s", conf->file != NULL ? conf->file : "(command line)");
}

static int set_up(struct master *m, struct err *err)
{
	const char *sink = m->start.foreground ? "stderr" : m->start.conf->log;
	int level = m->start.conf->log_level;

	if (heritage_begin(&m->heritage, err) != 0)
		return -1;
	m->context.lifeline_fd = m->heritage.lifeline[0];
	m->context.nofile = m->heritage.nofile;
	/* Detached first: listeners and scoreboards belong to the process that serves, and the
	 * command that waits hears of every failure all the same. */
	if (!m->start.foreground && m->start.lost == NULL && daemon_detach(err) != 0)
		return -1;
	if ((m->base = m->context.base = event_base_new()) == NULL)
		return err_set(err, EX_OSERR, "cannot make the event loop");
	set_title(m->start.conf);
	if (patience_prepare(m->fleet, m->start.conf, m->start.unclean, err) != 0 ||
		desk_open(m->parts.desk, m->start.conf, err) != 0)
		return -1;
	/* A log that cannot be written must not be found out later. */
	if (log_open(sink, level, err) != 0 || daemon_write_pid(m->start.pidfile, err) != 0)
		return -1;
	if (m->start.lost != NULL)
		log_err("the new program could not take over: %s", m->start.lost);
	return make_loop(m, err);
}

static void clean_up(struct master *m)
{
	fleet_free(m->fleet);
	desk_free(m->parts.desk);
	for (size_t i = 0; i < m->signal_count; i++)
		event_free(m->signals[i]);
	if (m->timer != NULL)
		event_free(m->timer);
	if (m->base != NULL)
		event_base_free(m->base);
	daemon_unlock(m->start.pidfile);
	free(m);
}

static int serve(struct master *m)
{
	hold_signals(false);
	loop(m);
	hold_signals(true); /* one more TERM must not end us between two steps of the cleaning */
	log_notice("stopped");
	int code = m->exit_code;
	clean_up(m);
	return code;
}

static struct master *new_master(const struct master_start *start)
{
	struct master *m = calloc(1, sizeof(*m));

	if (m == NULL)
		return NULL;
	m->start = *start;
	m->heritage.lifeline[0] = m->heritage.lifeline[1] = -1;
	m->context.body = start->body;
	m->context.environ = environ;
	hold_signals(true);
	m->fleet = fleet_new(&m->context, start->listeners);
	m->parts = (struct heritage_parts){ .origin = start->origin,
		.pidfile = start->pidfile,
		.fleet = m->fleet,
		.desk = desk_new(start->gate),
		.orders = &m->orders };
	m->reload = (struct reload){ .options = start->options,
		.foreground = start->foreground,
		.heritage = &m->heritage,
		.parts = &m->parts };
	m->succession = (struct succession){ .heritage = &m->heritage, .parts = &m->parts };
	m->orders = (struct orders){ .desk = m->parts.desk,
		.fleet = m->fleet,
		.herald = {
			.fleet = m->fleet, .heritage = &m->heritage, .version = start->version } };
	events_keep();
	return m->fleet == NULL || m->parts.desk == NULL ? NULL : m;
}

int master_main(const struct master_start *start)
{
	struct master *m = new_master(start);
	struct err err = { 0 };

	if (m == NULL) {
		daemon_report(EX_OSERR, "out of memory");
		return EX_OSERR;
	}
	if (set_up(m, &err) != 0) {
		clean_up(m);
		daemon_report(err.code, err.text);
		return err.code;
	}
	return serve(m);
}

/* What the image before has left; only fills in. */
static struct master *restore(
	const struct master_start *start, struct state_in *state, pid_t pid, struct err *err)
{
	struct master *m = new_master(start);

	if (m == NULL || (m->base = m->context.base = event_base_new()) == NULL) {
		err_set(err, EX_OSERR, "cannot make the event loop");
		return NULL;
	}
	if (heritage_restore(&m->heritage, state, pid, &m->parts, err) != 0)
		return NULL;
	m->start.pidfile = m->parts.pidfile;
	m->context.lifeline_fd = m->heritage.lifeline[0];
	m->context.nofile = m->heritage.nofile;
	m->orders.herald.phase = LEDGER_SERVING;
	return m;
}

int master_rehearse(const struct master_start *start, struct state_in *state, struct err *err)
{
	return restore(start, state, getppid(), err) != NULL ? 0 : -1;
}

int master_resume(
	const struct master_start *start, struct state_in *state, int *code, struct err *err)
{
	struct master *m = restore(start, state, getpid(), err);

	if (m == NULL)
		return -1;
	if (!start->foreground) /* heard of, should the file refuse */
		log_open("syslog", LOG_NOTICE, NULL);
	reload_log(&m->reload);
	if (make_loop(m, err) != 0)
		return -1;
	set_title(fleet_conf(m->fleet));
	m->started = true;
	on_reap(SIGCHLD, 0, m); /* who died in between */
	reload_resume(&m->reload);
	*code = serve(m);
	return 0;
}
