/*
 * trace: a table of traced threads, and one question after each stop: is everybody quiet?
 *
 * What a thread does is known for sure: it cannot leave a call, or begin one, without a stop that
 * only we can end. So nobody can take a connection between the question and the signal.
 */
#include "master/trace.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "master/look.h"
#include "master/tracee.h"

#define TRACED_MAX 1024 /* a program with more threads is not traced */
#define ROUNDS_MAX 8    /* through the threads of a program that makes new ones all the time */
#define STUCK 2         /* so many times hurried without a stop in between */

enum traced_state {
	TRACED_RUNS,
	TRACED_IN_CALL, /* in a system call other than a wait that we have seen */
	TRACED_WAITS,   /* kept at the beginning of its wait for a connection */
	TRACED_STANDS,  /* kept until all are told */
};

struct traced {
	pid_t tid, pid; /* the thread, and its process */
	enum traced_state state;
	bool polls;         /* in a call that waits for events, connections perhaps */
	int error;          /* what the call that was taken out returns; 0: none was */
	int signo;          /* to be delivered when it is let go */
	unsigned unchanged; /* how often it was hurried since it last stopped */
};

static struct traced *find(const struct trace *t, pid_t tid)
{
	for (size_t i = 0; i < t->count; i++)
		if (t->list[i].tid == tid)
			return &t->list[i];
	return NULL;
}

static struct traced *add(struct trace *t, pid_t tid, pid_t pid)
{
	if (t->count == t->room) {
		size_t room = t->room * 2 + 4;
		struct traced *list = realloc(t->list, room * sizeof(*list));

		if (list == NULL)
			return NULL;
		t->list = list;
		t->room = room;
	}
	t->list[t->count] = (struct traced){ .tid = tid, .pid = pid };
	return &t->list[t->count++];
}

static void drop(struct trace *t, struct traced *who)
{
	*who = t->list[--t->count];
}

/* Returns how many are new, or -1 and errno. */
static int seize_threads(struct trace *t, pid_t pid)
{
	pid_t tids[LOOK_THREADS_MAX];
	size_t count = look_threads(pid, tids);
	int added = 0;

	for (size_t i = 0; i < count; i++) {
		if (find(t, tids[i]) != NULL)
			continue;
		if (t->count == TRACED_MAX) {
			errno = E2BIG;
			return -1;
		}
		if (tracee_seize(tids[i]) == 0) {
			if (add(t, tids[i], pid) == NULL) {
				tracee_detach(tids[i], 0); /* or when it stops: nobody's */
				return -1;
			}
			added++;
		} else if (errno != ESRCH && !look_is_dead(tids[i])) {
			return -1;
		}
	}
	return added;
}

/* All that can take a connection from the listener and are not traced yet. */
static int seize_new(struct trace *t)
{
	pid_t group[LOOK_GROUP_MAX];
	int all = 0, added = 1;

	for (int round = 0; added > 0 && round < ROUNDS_MAX; round++) {
		size_t count = look_group(t->pid, group);

		added = 0;
		for (size_t i = 0; i < count; i++) {
			if (i > 0 && !t->ask.listens(group[i], t->ask.arg))
				continue;
			int n = seize_threads(t, group[i]);
			if (n < 0)
				return -1;
			added += n;
		}
		all += added;
	}
	return all;
}

static void begin_freeing(struct trace *t)
{
	t->phase = TRACE_FREEING;
	for (size_t i = t->count; i-- > 0;) {
		struct traced *who = &t->list[i];

		if (who->state == TRACED_WAITS) {
			tracee_detach(who->tid, 0);
			drop(t, who);
		} else {
			tracee_interrupt(who->tid);
		}
	}
}

static void forget(struct trace *t)
{
	free(t->list);
	t->list = NULL;
	t->count = t->room = 0;
}

int trace_begin(struct trace *t)
{
	forget(t);
	t->phase = TRACE_GATHERING;
	if (seize_new(t) >= 0 && t->count > 0)
		return 0;
	if (t->count == 0) {
		forget(t);
		return -1;
	}
	begin_freeing(t);
	return 0;
}

/* Those that run stop later, and then are nobody's: whoever gets to know detaches them. */
void trace_end(struct trace *t)
{
	for (size_t i = 0; i < t->count; i++) {
		tracee_interrupt(t->list[i].tid);
		tracee_detach(t->list[i].tid, t->list[i].signo);
	}
	forget(t);
}

bool trace_knows(const struct trace *t, pid_t tid)
{
	if (find(t, tid) != NULL)
		return true;
	if (t->count == 0)
		return false;
	/* A thread that was made by one of them is traced from its beginning. */
	pid_t pid = look_process_of(tid);
	for (size_t i = 0; i < t->count; i++)
		if (t->list[i].pid == pid)
			return true;
	return false;
}

static bool has_threads(const struct trace *t, pid_t pid)
{
	unsigned n = 0;

	for (size_t i = 0; i < t->count; i++)
		n += t->list[i].pid == pid;
	return n > 1;
}

/* A poll that our interrupt has ended comes back as restart_syscall. */
static bool is_poll(long number)
{
	return look_is_poll(number) || number == SYS_restart_syscall;
}

/* May it be kept here? With threads a descriptor is everybody's: another thread's connection does
 * not need this thread, unless that waits for events of all kinds. */
static bool may_be_kept(
	const struct trace *t, const struct traced *who, const struct tracee_stop *stop, bool holds)
{
	bool threads = has_threads(t, who->pid);

	if (!look_is_accept(stop->call))
		return is_poll(stop->call) && !holds && !threads;
	return !holds || (threads && !look_is_nonblocking(who->pid, stop->fd));
}

static void at_entry(struct trace *t, struct traced *who, const struct tracee_stop *stop)
{
	bool accepts = look_is_accept(stop->call);

	who->polls = is_poll(stop->call);
	who->state = TRACED_IN_CALL;
	if (accepts || who->polls) {
		bool holds = t->ask.holds(who->pid, t->ask.arg);

		if (may_be_kept(t, who, stop, holds)) {
			who->state = TRACED_WAITS;
			return;
		}
		/* One that serves several connections at once takes no more, and is caught when it
		 * has answered the last: to it the connection was gone before it was accepted. */
		if (accepts && tracee_skip_call(who->tid) == 0)
			who->error = EAGAIN;
	}
	tracee_resume(who->tid, 0);
}

static void end_call(struct traced *who)
{
	if (who->error != 0)
		tracee_return_error(who->tid, who->error);
	who->error = 0;
}

static void gather(struct trace *t, struct traced *who, const struct tracee_stop *stop)
{
	switch (stop->why) {
	case TRACEE_ENTRY:
		at_entry(t, who, stop);
		return;
	case TRACEE_STOPPED:
		tracee_listen(who->tid);
		return;
	case TRACEE_EXIT:
		end_call(who);
		break;
	default:
		break;
	}
	who->state = TRACED_RUNS;
	tracee_resume(who->tid, stop->signo);
}

/* Nobody holds a connection. A wait is left by its end, everything else wherever it is. */
static void make_stand(struct traced *who, const struct tracee_stop *stop)
{
	bool waits =
		stop->why == TRACEE_ENTRY && (look_is_accept(stop->call) || is_poll(stop->call));

	if (waits && tracee_skip_call(who->tid) == 0) {
		who->error = EINTR;
		tracee_resume(who->tid, 0);
		return;
	}
	if (stop->why == TRACEE_EXIT)
		end_call(who);
	who->signo = stop->signo;
	who->state = TRACED_STANDS;
}

static bool somebody_holds(const struct trace *t)
{
	for (size_t i = 0; i < t->count; i++) {
		bool asked = false;

		for (size_t j = 0; j < i && !asked; j++)
			asked = t->list[j].pid == t->list[i].pid;
		if (!asked && t->ask.holds(t->list[i].pid, t->ask.arg))
			return true;
	}
	return false;
}

static bool is_quiet(const struct trace *t)
{
	bool waits = false, all_blocked = true;

	for (size_t i = 0; i < t->count; i++) {
		const struct traced *who = &t->list[i];
		bool stuck = who->unchanged >= STUCK;

		if (!t->at_once && ((who->state == TRACED_RUNS && !stuck) || who->error != 0))
			return false;
		waits = waits || who->state == TRACED_WAITS ||
			(who->state == TRACED_IN_CALL && who->polls);
		all_blocked = all_blocked && who->state == TRACED_IN_CALL && stuck;
	}
	return (t->at_once || waits || all_blocked) && !somebody_holds(t);
}

static void begin_stopping(struct trace *t)
{
	t->phase = TRACE_STOPPING;
	for (size_t i = 0; i < t->count; i++) {
		struct traced *who = &t->list[i];

		if (who->state != TRACED_WAITS) {
			tracee_interrupt(who->tid);
			continue;
		}
		if (tracee_skip_call(who->tid) == 0)
			who->error = EINTR;
		who->state = TRACED_IN_CALL;
		tracee_resume(who->tid, 0);
	}
}

static bool all_stand(const struct trace *t)
{
	for (size_t i = 0; i < t->count; i++)
		if (t->list[i].state != TRACED_STANDS)
			return false;
	return t->count > 0;
}

/* It has a handler by now, or a connection. The handler may be one that only notes the signal, and
 * the program goes on to take a connection: it is told when it waits for one, as all others are. */
static void go_on_gathering(struct trace *t)
{
	t->at_once = false;
	t->phase = TRACE_GATHERING;
	for (size_t i = 0; i < t->count; i++) {
		struct traced *who = &t->list[i];

		who->state = TRACED_RUNS;
		tracee_resume(who->tid, who->signo);
		who->signo = 0;
	}
}

/* Each process once, before any of them runs again. While they are traced no pid can be another's.
 */
static enum trace_news tell(struct trace *t)
{
	for (size_t i = 0; i < t->count; i++) {
		bool told = false;

		for (size_t j = 0; j < i && !told; j++)
			told = t->list[j].pid == t->list[i].pid;
		if (!told)
			kill(t->list[i].pid, t->stop_signal);
	}
	for (size_t i = 0; i < t->count; i++)
		tracee_detach(t->list[i].tid, t->list[i].signo);
	forget(t);
	return TRACE_CAUGHT;
}

static enum trace_news consider(struct trace *t)
{
	if (t->phase == TRACE_GATHERING && is_quiet(t)) {
		int added = seize_new(t);

		if (added < 0)
			begin_freeing(t);
		else if (added == 0)
			begin_stopping(t);
	}
	if (t->phase == TRACE_STOPPING && all_stand(t)) {
		bool minds = t->at_once && look_minds_signal(t->pid, t->stop_signal);

		/* One that ran until just now may have taken a connection. */
		if (!minds && !somebody_holds(t))
			return tell(t);
		go_on_gathering(t);
	}
	if (t->phase == TRACE_FREEING && t->count == 0)
		return TRACE_FAILED;
	return TRACE_GOES_ON;
}

enum trace_news trace_stopped(struct trace *t, pid_t tid, int status)
{
	struct traced *who = find(t, tid);
	struct tracee_stop stop;

	if (who == NULL)
		who = add(t, tid, look_process_of(tid));
	if (who == NULL) {
		tracee_detach(tid, 0); /* without memory: not followed */
		return TRACE_GOES_ON;
	}
	who->unchanged = 0;
	tracee_read(tid, status, &stop);
	switch (t->phase) {
	case TRACE_GATHERING:
		gather(t, who, &stop);
		break;
	case TRACE_STOPPING:
		make_stand(who, &stop);
		break;
	case TRACE_FREEING:
		end_call(who);
		tracee_detach(tid, stop.signo);
		drop(t, who);
		break;
	}
	return consider(t);
}

enum trace_news trace_died(struct trace *t, pid_t tid)
{
	struct traced *who = find(t, tid);

	if (who != NULL)
		drop(t, who);
	return t->count > 0 ? consider(t) : TRACE_GOES_ON;
}

enum trace_news trace_hurry(struct trace *t)
{
	for (size_t i = 0; i < t->count; i++)
		t->list[i].unchanged++;
	return consider(t);
}
