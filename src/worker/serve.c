/*
 * serve: waits, accepts, lets libfcgi read the request and the application answer it.
 *
 * The wait and the accept are ours; libfcgi is only ever given a connection. SIGTERM stays blocked and
 * is read from a descriptor beside the listeners, so that no system call of a request is ever
 * interrupted and a worker is only asked to go when it holds nothing. Several workers wait on one
 * listener: EPOLLEXCLUSIVE wakes one of them for a connection.
 *
 * A connection that the web server wants kept open (FCGI_KEEP_CONN) waits in the same epoll set, so
 * that it does not keep the worker from serving others.
 */
#include "worker/serve.h"

#include <bsd/unistd.h>
#include <errno.h>
#include <fcgiapp.h>
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

#define EVENTS 16
#define LINGER_MS 2000      /* for the rest of a request that the application did not read */
#define LINGER_BYTES (64 << 20)
#define ORPHAN_SIGNAL SIGRTMIN

enum source { SOURCE_LISTENER, SOURCE_KEPT, SOURCE_HANDOVER, SOURCE_SIGNAL, SOURCE_LIFELINE };

struct server {
	const struct job *job;
	const struct board_seat *seat;
	const struct preforkd_app *app;
	FCGX_Request request;
	int epoll, signals;
	bool leaving, abandoned; /* told to go; the master is dead */
	struct kept kept;
};

/* For the signal handler alone. */
static struct {
	volatile sig_atomic_t orphaned;
	const int *listeners;
	size_t count;
} orphan;

/* The master is dead and a request is running: let go of the listeners at once, so that a new master
 * can have the address, and leave after the request. Restarts whatever it interrupts. */
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

/* FCGX_Init() takes over PIPE, USR1 and TERM, so it comes first and we have the last word. */
static int arrange_signals(struct server *s)
{
	static const int ignored[] = { SIGPIPE, SIGHUP, SIGUSR1, SIGUSR2, SIGTTIN, SIGTTOU };
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	struct sigaction release = { .sa_handler = on_orphaned, .sa_flags = SA_RESTART };
	sigset_t leave;

	sigemptyset(&leave);
	sigaddset(&leave, SIGTERM);
	sigaddset(&leave, SIGQUIT);
	if (sigprocmask(SIG_BLOCK, &leave, NULL) != 0 || FCGX_Init() != 0)
		return -1;
	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		sigaction(ignored[i], &ignore, NULL);
	orphan.listeners = s->job->listeners;
	orphan.count = s->job->listener_count;
	sigaction(ORPHAN_SIGNAL, &release, NULL);
	s->signals = signalfd(-1, &leave, SFD_CLOEXEC | SFD_NONBLOCK);
	return s->signals < 0 || FCGX_InitRequest(&s->request, -1, 0) != 0 ? -1 : 0;
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
		report_failure(s->job->start_fd, EX_UNAVAILABLE, "start of application %s returned %d",
			s->app->name, rc);
}

/* Reads away what is left of the body, so that the next request on the connection begins where
 * libfcgi will look for it. False: too much, or the connection is broken. */
static bool drain_body(FCGX_Request *request)
{
	char bytes[8192];
	size_t total = 0;
	int n;

	while ((n = FCGX_GetStr(bytes, sizeof(bytes), request->in)) > 0)
		if ((total += (size_t)n) > LINGER_BYTES)
			return false;
	return FCGX_GetError(request->in) == 0;
}

static bool has_unread_body(const FCGX_Request *request)
{
	const char *length = FCGX_GetParam("CONTENT_LENGTH", request->envp);

	return length != NULL && strtoull(length, NULL, 10) > 0 && !FCGX_HasSeenEOF(request->in);
}

/* Closing a socket with unread bytes resets it, and the client may lose the answer. */
static void close_gently(int fd, bool unread)
{
	char bytes[16384];
	size_t total = 0;
	ssize_t n;

	/* Without a body this finds the closing record of an empty one, if it comes late. */
	while ((n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0 && total < LINGER_BYTES) {
		total += (size_t)n;
		unread = true;
	}
	if (unread && n != 0)
		shutdown(fd, SHUT_WR);
	while (unread && n != 0 && total < LINGER_BYTES) {
		struct pollfd readable = { .fd = fd, .events = POLLIN };

		if (poll(&readable, 1, LINGER_MS) != 1)
			break;
		n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
		if (n < 0)
			break;
		total += (size_t)n;
	}
	close(fd);
}

/* One request on a connection. Returns whether the connection is still open and to be kept. */
static bool serve_request(struct server *s, int fd)
{
	FCGX_Request *request = &s->request;

	request->ipcFd = fd;
	request->keepConnection = 1; /* so that its first FCGX_Finish_r() leaves the descriptor alone */
	/* Busy from the first byte: a worker that dies while it reads died of a request. */
	board_begin(s->seat);
	set_title(s, "busy");
	if (FCGX_Accept_r(request) != 0) {
		board_end(s->seat, false);
		set_title(s, "idle");
		return false; /* gone or no FastCGI: it has closed the connection */
	}
	int status = s->app->handle(request);
	FCGX_SetExitStatus(status, request->out);
	bool keep = request->keepConnection != 0, unread = has_unread_body(request);
	if (keep && unread) {
		FCGX_FFlush(request->out);
		keep = drain_body(request);
	}
	request->keepConnection = 1; /* the close is ours */
	FCGX_Finish_r(request);
	board_end(s->seat, true);
	set_title(s, "idle");
	fd = request->ipcFd;
	request->ipcFd = -1;
	if (keep && fd >= 0)
		return true;
	if (fd >= 0)
		close_gently(fd, unread);
	return false;
}

/* One more than we can keep is closed after its answer. */
static void keep(struct server *s, int fd)
{
	if (watch_fd(s, fd, SOURCE_KEPT, 0) != 0 || !kept_add(&s->kept, fd))
		close(fd);
}

static void serve_kept(struct server *s, int fd)
{
	if (!serve_request(s, fd))
		kept_forget(&s->kept, fd);
}

static void take_over(struct server *s)
{
	int fd = kept_receive(s->job->handover[1]);

	if (fd >= 0)
		keep(s, fd);
	else if (errno != EAGAIN && errno != EINTR)
		epoll_ctl(s->epoll, EPOLL_CTL_DEL, s->job->handover[1], NULL);
}

/* libfcgi would wait for the first byte and serve nobody else meanwhile. */
static bool is_silent(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

static void serve_listener(struct server *s, int listener)
{
	if (orphan.orphaned)
		return;
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0)
		return;
	if (is_silent(fd) || serve_request(s, fd))
		keep(s, fd);
}

static enum source source_of(const struct epoll_event *event)
{
	return (enum source)(event->data.u64 >> 32);
}

/* Told to leave beside new connections: it leaves, and takes none of them. */
static void handle_events(struct server *s, const struct epoll_event *events, int count)
{
	for (int i = 0; i < count; i++) {
		s->abandoned = s->abandoned || source_of(&events[i]) == SOURCE_LIFELINE;
		s->leaving = s->leaving || s->abandoned || source_of(&events[i]) == SOURCE_SIGNAL;
	}
	for (int i = 0; i < count && !s->leaving && !orphan.orphaned; i++) {
		int fd = (int)(uint32_t)events[i].data.u64;

		if (source_of(&events[i]) == SOURCE_KEPT)
			serve_kept(s, fd);
		else if (source_of(&events[i]) == SOURCE_HANDOVER)
			take_over(s);
		else
			serve_listener(s, fd);
	}
}

/* Whoever is woken for a connection is the only one: if the word to leave came at the same time, the
 * connection would wait until the next one wakes a sibling. */
static void pass_on_wakeup(struct server *s)
{
	int to = s->job->handover[0];

	for (size_t i = 0; i < s->job->listener_count && kept_has_siblings(to); i++) {
		int fd = accept4(s->job->listeners[i], NULL, NULL, SOCK_CLOEXEC);

		if (fd >= 0 && !kept_send(to, fd) && serve_request(s, fd))
			close(fd);
	}
}

/* Siblings get the kept connections. Where there are none, a request that has already arrived is
 * answered before we go. */
static void leave_connections(struct server *s)
{
	bool alone = s->abandoned || orphan.orphaned;
	int fd;

	if (!alone)
		pass_on_wakeup(s);
	while ((fd = kept_take(&s->kept)) >= 0) {
		struct pollfd readable = { .fd = fd, .events = POLLIN };

		if (!alone && kept_send(s->job->handover[0], fd))
			continue;
		if (poll(&readable, 1, 0) != 1 || serve_request(s, fd))
			close(fd);
	}
}

void serve(const struct job *job, const struct board_seat *seat)
{
	static struct server server;
	struct server *s = &server;
	struct epoll_event events[EVENTS];

	s->job = job;
	s->seat = seat;
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
