/*
 * watch: follows one worker.
 *
 * The start pipe comes from an unprivileged process: one message of bounded length, checked and
 * escaped. Its callback only notes; watch_follow() acts.
 */
#include "master/watch.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/conf.h"
#include "common/err.h"
#include "common/log.h"
#include "common/private.h"
#include "master/look.h"
#include "master/output.h"
#include "master/retire.h"
#include "master/spawn.h"

#define LOOK_WAIT_MIN 1 /* ms between two looks at a starting program */
#define LOOK_WAIT_MAX 100
#define EXPIRE_GRACE 500 /* ms for the 504 to a client whose request took too long */
#define LOOK_SURE 3      /* so many looks in a row must find it asleep, if it is not in accept */

static void drop_start_pipe(struct watch *w)
{
	if (w->start_event != NULL)
		event_free(w->start_event);
	w->start_event = NULL;
	if (w->start_fd >= 0)
		close(w->start_fd);
	w->start_fd = -1;
}

static void note_report(struct watch *w, const char *bytes, size_t length)
{
	if (bytes[0] == JOB_READY) {
		w->said_ready = true;
	} else if (bytes[0] == JOB_FAILED && length >= 2) {
		unsigned char code = (unsigned char)bytes[1];

		w->code = code >= EX__BASE && code <= EX__MAX ? code : EX_UNAVAILABLE;
		log_escape(bytes + 2, length - 2, w->reason, sizeof(w->reason));
	}
}

static void on_start_pipe(int fd, short what, void *arg)
{
	struct watch *w = arg;
	char bytes[JOB_REPORT_MAX];
	ssize_t n = read(fd, bytes, sizeof(bytes));

	(void)what;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0)
		note_report(w, bytes, (size_t)n);
	else if (w->conf->kind == CONF_COMMAND)
		w->execed = true;
	drop_start_pipe(w);
}

/* Both ends close on exec; the ends of the output are never waited for. */
static int make_pipes(struct watch_start *s, struct err *err)
{
	int start[2], output[2] = { -1, -1 };
	bool wanted = strcmp(s->watch->conf->output, "null") != 0;

	if (pipe2(start, O_CLOEXEC | O_NONBLOCK) != 0)
		return err_set(err, EX_OSERR, "cannot make a pipe: %s", strerror(errno));
	if (wanted && pipe2(output, O_CLOEXEC | O_NONBLOCK) != 0) {
		int reason = errno;

		close(start[0]);
		close(start[1]);
		return err_set(err, EX_OSERR, "cannot make a pipe: %s", strerror(reason));
	}
	s->watch->start_fd = start[0];
	s->job.start_fd = start[1];
	s->output_read = output[0];
	s->job.output_fd = output[1];
	return 0;
}

int watch_adopt(struct watch *w, const struct watch_context *context)
{
	if (w->start_fd < 0)
		return 0;
	w->start_event =
		event_new(context->base, w->start_fd, EV_READ | EV_PERSIST, on_start_pipe, w);
	return w->start_event == NULL ? -1 : event_add(w->start_event, NULL);
}

static int follow_pipes(
	struct watch_start *s, const struct watch_context *context, struct output_sink *sink)
{
	struct watch *w = s->watch;

	if (watch_adopt(w, context) != 0)
		return -1;
	if (s->output_read < 0)
		return 0;
	w->output = output_attach(sink, context->base, s->output_read, w->pid);
	if (w->output == NULL)
		close(s->output_read);
	return w->output == NULL ? -1 : 0;
}

static int stop_signal(const struct watch *w)
{
	return w->conf->kind == CONF_COMMAND ? w->conf->stop_signal : SIGTERM;
}

int watch_prepare(struct watch_start *s, const struct watch_context *context,
	const struct watch_seat *seat, struct err *err)
{
	s->job = (struct job){ .pool = seat->conf,
		.slot = seat->slot,
		.master = getpid(),
		.listeners = seat->listeners,
		.listener_count = seat->listener_count,
		.shared_fd = seat->shared_fd,
		.board_fd = seat->board_fd,
		.handover = { seat->handover[0], seat->handover[1] },
		.bell_fd = seat->bell_fd,
		.access_fd = seat->access_fd,
		.null_fd = seat->null_fd,
		.max_requests = seat->max_requests,
		.max_memory = seat->max_memory,
		.lifeline_fd = context->lifeline_fd,
		.nofile = context->nofile,
		.environ = context->environ };
	struct watch *w = s->watch = private_alloc(sizeof(*w));

	if (w == NULL)
		return err_set(err, EX_OSERR, "out of memory");
	w->conf = seat->conf;
	w->slot = seat->slot;
	w->state = LIFE_STARTING;
	w->start_fd = -1;
	if (make_pipes(s, err) == 0)
		return 0;
	private_free(w, sizeof(*w));
	return -1;
}

int watch_fork(struct watch_start *s, const struct watch_context *context)
{
	s->watch->pid = spawn(context->body, &s->job);
	return s->watch->pid < 0 ? -1 : 0;
}

static void close_worker_ends(const struct watch_start *s)
{
	close(s->job.start_fd);
	if (s->job.output_fd >= 0)
		close(s->job.output_fd);
}

void watch_abandon(struct watch_start *s)
{
	close_worker_ends(s);
	if (s->output_read >= 0)
		close(s->output_read);
	watch_free(s->watch);
}

void watch_begin(struct watch_start *s, const struct watch_context *context,
	struct output_sink *sink, uint64_t now)
{
	struct watch *w = s->watch;

	close_worker_ends(s);
	w->started = now;
	w->deadline = now + w->conf->start_timeout;
	w->look_at = now;
	w->look_wait = LOOK_WAIT_MIN;
	retire_init(&w->retire, w->pid, w->conf->kind != CONF_COMMAND, stop_signal(w),
		s->job.listeners[0]);
	if (follow_pipes(s, context, sink) != 0)
		watch_event(w, LIFE_EV_LATE, now); /* cannot be followed: it ends and is replaced */
}

enum life_action watch_event(struct watch *w, enum life_event event, uint64_t now)
{
	struct life_step step = life_step(w->state, event);
	bool starting = w->state == LIFE_STARTING;

	w->state = step.next;
	switch (step.action) {
	case LIFE_DO_SERVE:
		w->was_ready = true;
		drop_start_pipe(w);
		retire_foresee(&w->retire);
		break;
	case LIFE_DO_STOP:
		w->deadline = now + w->conf->stop_timeout;
		retire_begin(&w->retire, starting, now);
		break;
	case LIFE_DO_EXPIRE:
		w->expired = true;
		w->deadline = now + EXPIRE_GRACE;
		if (w->conf->kind == CONF_COMMAND)
			retire_kill(w->pid);
		else
			kill(w->pid, JOB_EXPIRED_SIGNAL);
		break;
	case LIFE_DO_KILL:
		retire_kill(w->pid);
		break;
	default:
		break;
	}
	return step.action;
}

void watch_hurry(struct watch *w, uint64_t deadline)
{
	if (w->state == LIFE_RETIRING && deadline < w->deadline)
		w->deadline = deadline;
}

static bool waits_for_connections(struct watch *w, uint64_t now)
{
	if (w->said_ready)
		return true;
	if (!w->execed || now < w->look_at)
		return false;
	enum look look = look_at(w->pid);
	w->sleeping = look == LOOK_SLEEPING ? w->sleeping + 1 : 0;
	w->look_at = now + w->look_wait;
	w->look_wait = w->look_wait * 2 < LOOK_WAIT_MAX ? w->look_wait * 2 : LOOK_WAIT_MAX;
	/* In a pool that is never idle it is not seen waiting: it has a request already. */
	return look == LOOK_ACCEPTING || w->sleeping >= LOOK_SURE ||
	       grip_seen(w->pid, &w->retire.listener);
}

static uint64_t follow_start(struct watch *w, uint64_t now)
{
	if (waits_for_connections(w, now)) {
		watch_event(w, LIFE_EV_READY, now);
		return UINT64_MAX;
	}
	if (now >= w->deadline && w->execed) {
		log_warning("pool %s: worker %d has not been seen waiting for connections within "
			    "start-timeout, taken for ready",
			w->conf->name, (int)w->pid);
		watch_event(w, LIFE_EV_READY, now);
		return UINT64_MAX;
	}
	if (now >= w->deadline) {
		log_err("pool %s: worker %d was not ready within start-timeout, killed",
			w->conf->name, (int)w->pid);
		watch_event(w, LIFE_EV_LATE, now);
		return UINT64_MAX;
	}
	return w->execed && w->look_at < w->deadline ? w->look_at : w->deadline;
}

static uint64_t follow_expired(struct watch *w, uint64_t now)
{
	if (now < w->deadline)
		return w->deadline;
	watch_event(w, LIFE_EV_OVERDUE, now);
	return UINT64_MAX;
}

uint64_t watch_follow(struct watch *w, uint64_t now)
{
	if (w->state == LIFE_STARTING)
		return follow_start(w, now);
	if (w->state == LIFE_EXPIRED)
		return follow_expired(w, now);
	if (w->state != LIFE_RETIRING)
		return UINT64_MAX;
	if (now < w->deadline) {
		uint64_t next = retire_follow(&w->retire, now);

		return next < w->deadline ? next : w->deadline;
	}
	log_warning("pool %s: worker %d did not stop within stop-timeout, killed with the request "
		    "it had",
		w->conf->name, (int)w->pid);
	watch_event(w, LIFE_EV_OVERDUE, now);
	return UINT64_MAX;
}

bool watch_knows(const struct watch *w, pid_t tid)
{
	return retire_knows(&w->retire, tid);
}

void watch_stopped(struct watch *w, pid_t tid, int status, uint64_t now)
{
	retire_stopped(&w->retire, tid, status, now);
}

void watch_lost(struct watch *w, pid_t tid, uint64_t now)
{
	retire_lost(&w->retire, tid, now);
}

/* Its death can be seen before its report. */
void watch_collect(struct watch *w)
{
	if (w->start_event != NULL)
		on_start_pipe(w->start_fd, EV_READ, w);
	w->was_ready = w->was_ready || w->said_ready;
}

void watch_free(struct watch *w)
{
	if (w == NULL)
		return;
	drop_start_pipe(w);
	retire_end(&w->retire);
	output_detach(w->output);
	private_free(w, sizeof(*w));
}
