/*
 * serve: waits for connections and takes them, one request at a time.
 *
 * The wait and the accept are ours; libfcgi (request.c) is only ever given a connection. SIGTERM
 * stays blocked and is read from a descriptor beside the listeners, so that no system call of a
 * request is ever interrupted and a worker is only asked to go when it holds nothing. Several
 * workers wait on one listener: EPOLLEXCLUSIVE wakes one of them for a connection.
 *
 * A connection that the web server wants kept open (FCGI_KEEP_CONN) waits in the same epoll set, so
 * that it does not keep the worker from serving others.
 */
#include "worker/serve.h"

#include <assert.h>
#include <bsd/unistd.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/board.h"
#include "common/conf.h"
#include "common/job.h"
#include "preforkd_app.h"
#include "worker/kept.h"
#include "worker/module.h"
#include "worker/report.h"
#include "worker/request.h"

#define EVENTS 16
#define FIRST_BYTE_MS 10
#define SHORTAGE_MS 50 /* until descriptors or memory are tried again */
#define ORPHAN_SIGNAL SIGRTMIN

/* Those with connections come first, in the order in which they are served. */
enum source { SOURCE_HANDOVER, SOURCE_LISTENER, SOURCE_KEPT, SOURCE_SIGNAL, SOURCE_LIFELINE };

static_assert(PREFORKD_APP_SHARED == BOARD_SHARED_CELLS, "what modules are promised is there");

struct server {
	const struct job *job;
	const struct board_seat *seat;
	const struct preforkd_app *app;
	int epoll, signals;
	bool leaving, abandoned; /* told to go; the master is dead */
	struct kept kept;
	int patience; /* ms, with a new connection */
};

/* For the signal handler alone. */
static struct {
	volatile sig_atomic_t orphaned;
	const int *listeners;
	size_t count;
} orphan;

/* The master is dead and a request is running: let go of the listeners at once, so that a new
 * master can have the address, and leave after the request. Restarts whatever it interrupts. */
static void on_orphaned(int signo)
{
	int saved = errno;

	(void)signo;
	for (size_t i = 0; orphan.orphaned == 0 && i < orphan.count; i++)
		close(orphan.listeners[i]);
	orphan.orphaned = 1;
	errno = saved;
}

static void set_title(const struct server *s, const char *state)
{
	setproctitle("%s worker %u %s", s->job->pool->name, s->job->slot, state);
}

static int watch_fd(const struct server *s, int fd, enum source source, uint32_t flags)
{
	struct epoll_event event = { .events = EPOLLIN | flags,
		.data.u64 = ((uint64_t)source << 32) | (uint32_t)fd };

	return epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &event);
}

/* libfcgi takes over PIPE, USR1 and TERM, so it comes first and we have the last word. */
static int arrange_signals(struct server *s)
{
	static const int ignored[] = { SIGPIPE, SIGXFSZ, SIGHUP, SIGUSR1, SIGUSR2, SIGTTIN,
		SIGTTOU };
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	struct sigaction release = { .sa_handler = on_orphaned, .sa_flags = SA_RESTART };
	sigset_t leave;

	sigemptyset(&leave);
	sigaddset(&leave, SIGTERM);
	sigaddset(&leave, SIGQUIT);
	if (sigprocmask(SIG_BLOCK, &leave, NULL) != 0 || request_init() != 0)
		return -1;
	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		sigaction(ignored[i], &ignore, NULL);
	orphan.listeners = s->job->listeners;
	orphan.count = s->job->listener_count;
	sigaction(ORPHAN_SIGNAL, &release, NULL);
	s->signals = signalfd(-1, &leave, SFD_CLOEXEC | SFD_NONBLOCK);
	return s->signals < 0 ? -1 : 0;
}

static int arrange_epoll(struct server *s)
{
	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (s->epoll < 0 || watch_fd(s, s->signals, SOURCE_SIGNAL, 0) != 0 ||
		watch_fd(s, s->job->lifeline_fd, SOURCE_LIFELINE, 0) != 0 ||
		watch_fd(s, s->job->handover[1], SOURCE_HANDOVER, EPOLLEXCLUSIVE) != 0)
		return -1;
	for (size_t i = 0; i < s->job->listener_count; i++)
		if (watch_fd(s, s->job->listeners[i], SOURCE_LISTENER, EPOLLEXCLUSIVE) != 0)
			return -1;
	return 0;
}

static void start_application(struct server *s)
{
	const struct conf_pool *pool = s->job->pool;
	static struct preforkd_app_env env;
	char why[300];

	s->app = module_load(pool, why, sizeof(why));
	if (s->app == NULL)
		report_failure(s->job->start_fd, EX_UNAVAILABLE, "%s", why);
	env.pool = pool->name;
	env.worker = s->job->slot;
	env.argv = pool->argv;
	while (pool->argv[env.argc] != NULL)
		env.argc++;
	env.shared = s->seat->shared;
	int rc = s->app->start == NULL ? 0 : s->app->start(&env);
	if (rc != 0)
		report_failure(s->job->start_fd, EX_UNAVAILABLE,
			"start of application %s returned %d", s->app->name, rc);
}

/* Busy from the first byte: a worker that dies while it reads died of a request. */
static bool serve_connection(struct server *s, int fd)
{
	board_begin(s->seat);
	set_title(s, "busy");
	enum request_end end = request_serve(s->app, fd);
	board_end(s->seat, end != REQUEST_NONE);
	set_title(s, "idle");
	return end == REQUEST_KEPT;
}

/* Closing alone would not take it out of the set: it may be open elsewhere. */
static void unkeep(struct server *s, int fd)
{
	epoll_ctl(s->epoll, EPOLL_CTL_DEL, fd, NULL);
	kept_forget(&s->kept, fd);
}

static void drop(struct server *s, int fd)
{
	unkeep(s, fd);
	close(fd);
}

/* One more than we can keep is closed. */
static void keep(struct server *s, int fd)
{
	if (watch_fd(s, fd, SOURCE_KEPT, 0) != 0)
		close(fd);
	else if (!kept_add(&s->kept, fd))
		drop(s, fd);
}

static bool is_silent(int fd)
{
	struct pollfd readable = { .fd = fd, .events = POLLIN };

	return poll(&readable, 1, 0) == 0;
}

/* A web server sends the first byte right after the connect. While clients come that do not, we
 * have less patience with each: the others wait for us. */
static bool stays_silent(struct server *s, int fd)
{
	struct pollfd readable = { .fd = fd, .events = POLLIN };
	bool silent = poll(&readable, 1, s->patience) == 0;

	if (silent && s->patience > 1)
		s->patience /= 2;
	else if (!silent && s->patience < FIRST_BYTE_MS)
		s->patience++;
	return silent;
}

static enum source source_of(const struct epoll_event *event)
{
	return (enum source)(event->data.u64 >> 32);
}

static int fd_of(const struct epoll_event *event)
{
	return (int)(uint32_t)event->data.u64;
}

/* Nothing can be accepted: the listener was shut down by somebody who shares it, or descriptors or
 * memory are short. Both would make the loop spin. */
static void mend_accept(struct server *s, int listener)
{
	if (errno == EINVAL) {
		epoll_ctl(s->epoll, EPOLL_CTL_DEL, listener, NULL);
		fprintf(stderr, "a listener was shut down by another process\n");
		return;
	}
	if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM)
		return;
	int idle = kept_take(&s->kept);
	if (idle >= 0)
		drop(s, idle);
	else
		poll(NULL, 0, SHORTAGE_MS);
}

/* libfcgi would wait for the first byte and serve nobody else meanwhile: whoever does not send it
 * is put aside. */
static int take_new(struct server *s, int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		mend_accept(s, listener);
	if (fd >= 0 && stays_silent(s, fd)) {
		keep(s, fd);
		return -1;
	}
	return fd;
}

static int take_over(struct server *s, int handover)
{
	int fd = kept_receive(handover);

	if (fd < 0 && errno == EPIPE)
		epoll_ctl(s->epoll, EPOLL_CTL_DEL, handover, NULL);
	if (fd >= 0 && is_silent(fd)) {
		keep(s, fd);
		return -1;
	}
	return fd;
}

/* The connection behind an event, if a request has arrived on it; no longer in the epoll set unless
 * it is a kept one. -1: none. */
static int ready_connection(struct server *s, const struct epoll_event *event)
{
	switch (source_of(event)) {
	case SOURCE_HANDOVER:
		return take_over(s, fd_of(event));
	case SOURCE_LISTENER:
		return orphan.orphaned ? -1 : take_new(s, fd_of(event));
	case SOURCE_KEPT:
		return fd_of(event);
	default:
		return -1;
	}
}

/* We can serve one, and were perhaps the only one to be woken for the others: siblings get them. */
static void pass_on(struct server *s, const struct epoll_event *event)
{
	int to = s->job->handover[0], fd = ready_connection(s, event);

	if (fd >= 0 && source_of(event) == SOURCE_KEPT)
		unkeep(s, fd);
	if (fd >= 0 && !kept_send(to, fd))
		keep(s, fd);
}

/* Serves the first connection that has a request: those that siblings could not take, new ones,
 * kept ones. The rest of the events is passed on before that. */
static void serve_one(struct server *s, const struct epoll_event *events, int count)
{
	/* One waits there already: then all are busy, and would only push kept ones to and fro. */
	bool all_busy = count > 1 && kept_is_waiting(s->job->handover[0]);
	const struct epoll_event *chosen = NULL;
	int fd = -1;

	for (enum source source = 0; source <= SOURCE_KEPT; source++)
		for (int i = 0; i < count; i++) {
			if (source_of(&events[i]) != source)
				continue;
			if (fd >= 0 && !(all_busy && source == SOURCE_KEPT)) {
				pass_on(s, &events[i]);
			} else if (fd < 0) {
				fd = ready_connection(s, &events[i]);
				chosen = &events[i];
			}
		}
	if (fd < 0)
		return;
	/* Not in the set while it is served: a handler may fork, and what it closes then stays
	 * open. */
	if (source_of(chosen) == SOURCE_KEPT)
		unkeep(s, fd);
	if (serve_connection(s, fd))
		keep(s, fd);
}

/* Told to leave beside new connections: it leaves, and takes none of them. */
static void handle_events(struct server *s, const struct epoll_event *events, int count)
{
	for (int i = 0; i < count; i++) {
		s->abandoned = s->abandoned || source_of(&events[i]) == SOURCE_LIFELINE;
		s->leaving = s->leaving || s->abandoned || source_of(&events[i]) == SOURCE_SIGNAL;
	}
	if (!s->leaving && !orphan.orphaned)
		serve_one(s, events, count);
}

/* Whoever cannot be given to a sibling is served if a request has arrived. */
static void part_with(struct server *s, int fd, bool alone)
{
	if (!alone && kept_send(s->job->handover[0], fd))
		return;
	if (is_silent(fd) || serve_connection(s, fd))
		close(fd);
}

/* Siblings get the kept connections. They also get what we were woken for: if the word to leave
 * came at the same time nobody else has been, and it would wait until the next one wakes somebody.
 */
static void leave_connections(struct server *s)
{
	bool alone = s->abandoned || orphan.orphaned || !kept_has_siblings(s->job->handover[0]);
	int fd;

	for (size_t i = 0; i < s->job->listener_count && !alone; i++)
		if ((fd = accept4(s->job->listeners[i], NULL, NULL, SOCK_CLOEXEC)) >= 0)
			part_with(s, fd, alone);
	if (!alone && (fd = kept_receive(s->job->handover[1])) >= 0)
		part_with(s, fd, alone);
	while ((fd = kept_take(&s->kept)) >= 0)
		part_with(s, fd, alone);
}

void serve(const struct job *job, const struct board_seat *seat)
{
	static struct server server;
	struct server *s = &server;
	struct epoll_event events[EVENTS];

	s->job = job;
	s->seat = seat;
	s->patience = FIRST_BYTE_MS;
	kept_limit(&s->kept);
	setvbuf(stdout, NULL, _IOLBF, 0);
	set_title(s, "starting");
	if (arrange_signals(s) != 0 || arrange_epoll(s) != 0)
		report_failure(job->start_fd, EX_OSERR, "cannot arrange the accept loop: %s",
			strerror(errno));
	if (prctl(PR_SET_PDEATHSIG, ORPHAN_SIGNAL, 0, 0, 0) != 0 || getppid() != job->master)
		_exit(EX_TEMPFAIL);
	start_application(s);
	set_title(s, "idle");
	report_ready(job->start_fd);
	while (!s->leaving && !orphan.orphaned)
		handle_events(s, events, epoll_wait(s->epoll, events, EVENTS, -1));
	leave_connections(s);
	if (s->app->stop != NULL)
		s->app->stop();
	exit(EXIT_SUCCESS);
}
