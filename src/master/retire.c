/*
 * retire: a small state machine for each worker that is to go; every step returns at once. How long
 * it may take, and what then, is decided by the worker's deadline (watch.c).
 */
#include "master/retire.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "common/log.h"
#include "master/grip.h"
#include "master/look.h"
#include "master/sockets.h"

#define LOOK_WAIT_MIN 2 /* ms from one look that found a connection to the next */
#define LOOK_WAIT_MAX 64
#define TRACE_PATIENCE 250 /* ms; it may sleep, and never wait for a connection again */
#define STOP_POLL 1        /* ms between two looks whether all of a group have stopped */
#define ASK_AGAIN_MIN 100  /* ms; a program that waits again has swallowed its stop-signal */
#define ASK_AGAIN_MAX 1000

void retire_init(struct retire *r, pid_t pid, bool in_process, int stop_signal, int listener)
{
	*r = (struct retire){ .pid = pid, .in_process = in_process, .stop_signal = stop_signal };
	if (!in_process)
		grip_init(&r->listener, listener);
}

static void is_told(struct retire *r, uint64_t now)
{
	r->phase = RETIRE_TOLD;
	r->wait = ASK_AGAIN_MIN;
	r->at = now + r->wait;
}

static void tell(struct retire *r, uint64_t now)
{
	kill(r->pid, r->stop_signal);
	kill(r->pid, SIGCONT);
	is_told(r, now);
}

static bool holds(pid_t pid, const void *arg)
{
	return grip_holds(pid, arg);
}

static bool listens(pid_t pid, const void *arg)
{
	return grip_listens(pid, arg);
}

static enum retire_way worst_way; /* what was said of the programs so far */

enum retire_way retire_way(void)
{
	return worst_way;
}

/* Said once: it is so for all of them. */
static void say_refused(int reason)
{
	if (worst_way >= RETIRE_STOPPED || reason == ESRCH)
		return;
	worst_way = RETIRE_STOPPED;
	log_warning("programs cannot be traced (%s): to retire they are stopped until one is found "
		    "without a connection, which in a pool that is never idle can take until "
		    "stop-timeout",
		strerror(reason));
}

static bool begin_tracing(struct retire *r, bool starting, uint64_t now)
{
	if (r->untraceable)
		return false;
	r->trace.pid = r->pid;
	r->trace.stop_signal = r->stop_signal;
	r->trace.at_once = starting;
	r->trace.ask = (struct trace_questions){ holds, listens, &r->listener };
	if (trace_begin(&r->trace) != 0) {
		say_refused(errno);
		return false;
	}
	r->phase = RETIRE_TRACING;
	r->at = now + TRACE_PATIENCE;
	return true;
}

static void begin_looking(struct retire *r, uint64_t now)
{
	r->phase = RETIRE_LOOKING;
	r->wait = LOOK_WAIT_MIN;
	r->at = now;
}

static bool is_hidden(const struct retire *r)
{
	return !sockets_permitted(r->pid) && (errno == EPERM || errno == EACCES);
}

/* Said once: it is so for all of them. */
static void say_blind(void)
{
	if (worst_way < RETIRE_SIGNALLED)
		log_warning("programs are told to stop wherever they are, which can cut a request: "
			    "without CAP_SYS_PTRACE preforkd may not look into processes of other "
			    "users");
	worst_way = RETIRE_SIGNALLED;
}

void retire_foresee(const struct retire *r)
{
	if (!r->in_process && is_hidden(r))
		say_blind();
}

void retire_begin(struct retire *r, bool starting, uint64_t now)
{
	if (r->in_process) {
		tell(r, now);
		return;
	}
	kill(r->pid, SIGCONT); /* somebody may have stopped it */
	if (is_hidden(r)) {
		say_blind();
		tell(r, now);
	} else if (!begin_tracing(r, starting, now)) {
		begin_looking(r, now);
	}
}

/* To its process group, and to itself where it has left that. */
static void signal_group(const struct retire *r, int signo)
{
	kill(-r->pid, signo);
	if (getpgid(r->pid) != r->pid)
		kill(r->pid, signo);
}

static void go_on_later(struct retire *r, uint64_t now)
{
	signal_group(r, SIGCONT);
	r->phase = RETIRE_LOOKING;
	r->at = now + r->wait;
	r->wait = r->wait * 2 < LOOK_WAIT_MAX ? r->wait * 2 : LOOK_WAIT_MAX;
}

/* All of its process group stand still: does any of them hold a connection? */
static void look_at_stopped(struct retire *r, uint64_t now)
{
	pid_t group[LOOK_GROUP_MAX];
	size_t count = look_group(r->pid, group);
	bool stopped = true, holding = false;

	for (size_t i = 0; i < count; i++) {
		stopped = stopped && look_is_stopped(group[i]);
		holding = holding || grip_holds(group[i], &r->listener);
	}
	if (holding) {
		go_on_later(r, now);
	} else if (!stopped) {
		r->at = now + STOP_POLL;
	} else {
		signal_group(r, r->stop_signal);
		signal_group(r, SIGCONT);
		is_told(r, now);
	}
}

static void take_news(struct retire *r, enum trace_news news, uint64_t now)
{
	if (news == TRACE_CAUGHT) {
		is_told(r, now);
	} else if (news == TRACE_FAILED) {
		r->untraceable = true;
		begin_looking(r, now);
	}
}

bool retire_knows(const struct retire *r, pid_t tid)
{
	return r->phase == RETIRE_TRACING && trace_knows(&r->trace, tid);
}

void retire_stopped(struct retire *r, pid_t tid, int status, uint64_t now)
{
	if (r->phase == RETIRE_STOPPING)
		look_at_stopped(r, now);
	else if (r->phase == RETIRE_TRACING)
		take_news(r, trace_stopped(&r->trace, tid, status), now);
}

void retire_lost(struct retire *r, pid_t tid, uint64_t now)
{
	take_news(r, trace_died(&r->trace, tid), now);
}

void retire_end(struct retire *r)
{
	trace_end(&r->trace);
}

/* It was told when it held no connection. Does it take new ones, or wait for them, as if nothing
 * had been said? One that polls may be about its own end: it gets more time, and has the listener
 * still.
 */
static bool has_not_heard(const struct retire *r)
{
	enum look look = look_at(r->pid);

	if (look == LOOK_ACCEPTING)
		return true;
	return r->wait == ASK_AGAIN_MAX && grip_listens(r->pid, &r->listener) &&
	       (look == LOOK_SLEEPING || grip_seen(r->pid, &r->listener));
}

/* A handler that only sets a flag, and a loop that does not look at it; or a signal that came
 * before the handler was there: once more. */
static void ask_again(struct retire *r, uint64_t now)
{
	unsigned wait = r->wait * 2 < ASK_AGAIN_MAX ? r->wait * 2 : ASK_AGAIN_MAX;

	if (has_not_heard(r))
		retire_begin(r, false, now);
	r->wait = wait;
	r->at = now + (r->phase == RETIRE_TRACING ? TRACE_PATIENCE : wait);
}

uint64_t retire_follow(struct retire *r, uint64_t now)
{
	if (r->in_process || r->phase == RETIRE_NOT)
		return UINT64_MAX;
	if (now < r->at)
		return r->at;
	if (r->phase == RETIRE_TRACING) {
		r->at = now + TRACE_PATIENCE;
		take_news(r, trace_hurry(&r->trace), now);
	} else if (r->phase == RETIRE_STOPPING) {
		look_at_stopped(r, now);
	} else if (r->phase == RETIRE_TOLD) {
		ask_again(r, now);
	} else if (!begin_tracing(r, false, now)) { /* it fits now, perhaps */
		signal_group(r, SIGSTOP);
		r->phase = RETIRE_STOPPING;
		r->at = now + STOP_POLL;
	}
	return r->at;
}

void retire_kill(pid_t pid)
{
	kill(-pid, SIGKILL);
	kill(pid, SIGKILL); /* it may have left its group, or not have got it yet */
}

void retire_leftovers(pid_t pid, int signo)
{
	kill(-pid, signo);
}
