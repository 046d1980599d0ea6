/*
 * serve: the life of a worker inside preforkd: whichever connection has a whole request is served.
 *
 * A connection is read without waiting until the head of its request is there; only then it costs
 * the worker's time, so a slow client holds nobody. SIGTERM stays blocked and is read from a
 * descriptor beside the listeners, so that no system call of a request is ever interrupted and a
 * worker is only asked to go when it holds nothing.
 */
#include "worker/serve.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/board.h"
#include "common/clock.h"
#include "common/conf.h"
#include "common/job.h"
#include "common/title.h"
#include "preforkd_app.h"
#include "worker/accesslog.h"
#include "worker/conn.h"
#include "worker/kept.h"
#include "worker/module.h"
#include "worker/porter.h"
#include "worker/reception.h"
#include "worker/report.h"
#include "worker/request.h"

#define LEAVE_MS 2000   /* for the connections that nobody else can have */
#define NEAR_PERCENT 90 /* of max-memory */
#define LUCK_MS 2       /* without a look at events */
#define SLOW_US 1000    /* many times what it costs to give a connection away */
#define ORPHAN_SIGNAL SIGRTMIN

static_assert(PREFORKD_APP_SHARED == BOARD_SHARED_CELLS, "what modules are promised is there");

struct server {
	const struct job *job;
	const struct board_seat *seat;
	struct accesslog *log;
	const struct preforkd_app *app;
	int signals;
	bool abandoned; /* the master is dead */
	enum board_wish wish;
	uint64_t served;
	unsigned slow; /* requests in a row; one can be by chance, where processors are short */
	enum reception_source turn;      /* where the last one came from */
	uint64_t turns[CONF_LISTEN_MAX]; /* of each listener, when it was asked last; as a number */
	uint64_t last_turn;
	int lucky;      /* the listener that the last connection came from; -1: none did */
	uint64_t asked; /* ms: when events were asked for */
	const char *title;
	struct reception reception;
	struct porter porter;
};

/* What ps(1) shows. */
static const char starting[] = "starting", idle[] = "idle", busy[] = "busy";

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

static void set_title(struct server *s, const char *state)
{
	if (s->title == state)
		return;
	s->title = state;
	title_worker(s->job->pool->name, s->job->slot, state);
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
	if (sigprocmask(SIG_BLOCK, &leave, NULL) != 0)
		return -1;
	request_init(s->job->pool, s->log);
	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		sigaction(ignored[i], &ignore, NULL);
	orphan.listeners = s->job->listeners;
	orphan.count = s->job->listener_count;
	sigaction(ORPHAN_SIGNAL, &release, NULL);
	s->signals = signalfd(-1, &leave, SFD_CLOEXEC | SFD_NONBLOCK);
	return s->signals < 0 ? -1 : 0;
}

static void start_application(struct server *s)
{
	const struct conf_pool *pool = s->job->pool;
	static struct preforkd_app_env env;
	char why[300];

	s->app = module_load(pool, why, sizeof(why));
	if (s->app == NULL)
		report_failure(s->job->start_fd, EX_UNAVAILABLE, "%s", why);
	s->reception.roles = module_roles(s->app);
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

static void wish(struct server *s, enum board_wish what)
{
	if (what <= s->wish)
		return;
	s->wish = what;
	board_set_wish(s->seat, what);
}

/* A twentieth before the end a replacement is wanted; of a few, with the last one. */
static void note_begin(struct server *s)
{
	uint64_t most = s->job->max_requests;

	s->served++;
	if (most > 0 && s->served >= most - most / 20)
		wish(s, BOARD_GOES_SOON);
}

static void note_end(struct server *s)
{
	uint64_t most = s->job->max_memory;
	struct rusage usage;

	if (s->job->max_requests > 0 && s->served >= s->job->max_requests)
		wish(s, BOARD_GOES_NOW);
	if (most == 0 || getrusage(RUSAGE_SELF, &usage) != 0)
		return;
	uint64_t size = (uint64_t)usage.ru_maxrss * 1024;
	if (size >= most)
		wish(s, BOARD_GOES_NOW);
	else if (size >= most / 100 * NEAR_PERCENT)
		wish(s, BOARD_GOES_SOON);
}

static void serve_request(struct server *s, struct conn *c)
{
	struct reception *r = &s->reception;

	set_title(s, busy);
	board_hold(s->seat, r->crowd.count + 1);
	note_begin(s);
	porter_begin(&s->porter);
	enum request_end end = request_serve(s->app, s->seat, c, &r->input);
	porter_end(&s->porter);
	s->slow = request_us() >= SLOW_US ? s->slow + 1 : 0;
	note_end(s);
	if (end == REQUEST_SHUT)
		reception_linger(r, c);
	else if (end == REQUEST_CLOSE)
		reception_drop(r, c);
	else
		reception_put_back(r, c);
}

static uint64_t *turn_of(struct server *s, int listener)
{
	return &s->turns[reception_index(&s->reception, listener)];
}

/* The connection behind an event, if it has a request. */
static struct conn *take(struct server *s, const struct epoll_event *event)
{
	struct conn *c = reception_connection(&s->reception, event);

	s->turn = reception_source(event);
	if (s->turn == RECEPTION_LISTENER) {
		s->lucky = c != NULL ? reception_fd(event) : -1;
		*turn_of(s, reception_fd(event)) = ++s->last_turn;
	}
	return c != NULL ? reception_read(&s->reception, c) : NULL;
}

/* Who had a turn comes last: handover, listeners and connections that are here; and of the
 * listeners each, since epoll(7) names those that are always ready in the same order. Connections
 * have a queue. */
static uint64_t place_of(struct server *s, const struct epoll_event *event)
{
	const struct conn *first = crowd_first(&s->reception.crowd, CONN_PENDING);
	enum reception_source source = reception_source(event);
	unsigned sources = RECEPTION_CONN + 1;
	uint64_t rank = (sources + source - s->turn - 1) % sources, behind = 0;

	if (source == RECEPTION_LISTENER)
		behind = *turn_of(s, reception_fd(event));
	else if (source == RECEPTION_CONN)
		behind = first == NULL || first->fd != reception_fd(event);
	return (rank << 62) | behind;
}

/* Those that bring no connection are left out. Returns how many there are. */
static int line_up(struct server *s, struct epoll_event *events, int count)
{
	int n = 0;

	for (int i = 0; i < count; i++) {
		struct epoll_event event = events[i];
		int at = n;

		if (reception_source(&event) > RECEPTION_CONN)
			continue;
		for (; at > 0 && place_of(s, &event) < place_of(s, &events[at - 1]); at--)
			events[at] = events[at - 1];
		events[at] = event;
		n++;
	}
	return n;
}

/* Serves the first connection that has a request; the rest of the events is passed on before that.
 */
static void serve_one(struct server *s, struct epoll_event *events, int count)
{
	struct reception *r = &s->reception;
	struct conn *chosen = NULL;
	int i = 0, n = line_up(s, events, count);

	while (i < n && chosen == NULL)
		chosen = take(s, &events[i++]);
	if (chosen == NULL)
		return;
	r->left = false;
	for (bool generous = i < n && reception_is_generous(r, s->slow > 1); i < n; i++)
		reception_pass_on(r, &events[i], generous);
	serve_request(s, chosen);
}

/* At the limit, which is not worth a lost request: what nobody else can have is served. */
static void give_up_all(struct server *s, const struct epoll_event *events, int count)
{
	struct conn *c;

	for (int i = 0; i < count; i++)
		if ((c = reception_give_up(&s->reception, &events[i])) != NULL)
			serve_request(s, c);
}

static void handle_events(struct server *s, struct epoll_event *events, int count)
{
	struct reception *r = &s->reception;

	if (r->resting)
		give_up_all(s, events, count);
	else
		serve_one(s, events, count);
	if (s->wish == BOARD_GOES_NOW && !r->resting && !orphan.orphaned)
		reception_rest(r);
	reception_expire(r);
}

/* The set shows a few at a time: the word to leave would have to wait for its turn. */
static bool is_told_unseen(struct server *s)
{
	struct pollfd told[] = { { .fd = s->signals, .events = POLLIN },
		{ .fd = s->job->lifeline_fd, .events = POLLIN } };

	if (poll(told, 2, 0) <= 0)
		return false;
	s->abandoned = s->abandoned || told[1].revents != 0;
	return true;
}

/* Told to leave beside new connections: it leaves, and takes none of them. */
static bool look_for_the_end(struct server *s, const struct epoll_event *events, int count)
{
	bool leaving = count >= RECEPTION_EVENTS - 1 && is_told_unseen(s);

	for (int i = 0; i < count; i++) {
		enum reception_source source = reception_source(&events[i]);

		if (source == RECEPTION_ACCESSLOG)
			accesslog_follow(s->log);
		s->abandoned = s->abandoned || source == RECEPTION_LIFELINE;
		leaving = leaving || source == RECEPTION_SIGNAL;
	}
	return leaving || s->abandoned || orphan.orphaned;
}

/* Under load the next connection is there already: that is tried before events are asked for, which
 * saves a system call. Not for long, and only while nobody else could be waiting here. */
static bool try_luck(const struct server *s, struct epoll_event *event)
{
	const struct reception *r = &s->reception;

	if (s->lucky < 0 || r->resting || r->crowd.count > 0 || clock_ms() - s->asked >= LUCK_MS)
		return false;
	reception_expect(event, RECEPTION_LISTENER, s->lucky);
	return true;
}

static int wait_for_events(struct server *s, struct epoll_event *events, int limit)
{
	set_title(s, idle);
	board_hold(s->seat, s->reception.crowd.count);
	return reception_wait(&s->reception, events, limit);
}

static int next_events(struct server *s, struct epoll_event *events)
{
	if (try_luck(s, events))
		return 1;
	int n = wait_for_events(s, events, -1);
	s->asked = clock_ms();
	return n;
}

/* Whoever cannot be given to a sibling is served if a request has arrived. */
static void part_with(struct server *s, struct conn *c)
{
	struct reception *r = &s->reception;

	if ((r->alone || !reception_give(r, c)) && (c = reception_read(r, c)) != NULL)
		serve_request(s, c);
}

/* Those that have to stay are at the end of the list again. */
static void part_with_list(struct server *s, enum conn_list list)
{
	struct crowd *crowd = &s->reception.crowd;
	struct conn *c;

	for (unsigned n = crowd->count; n > 0 && (c = crowd_first(crowd, list)) != NULL; n--) {
		crowd_take(crowd, c);
		part_with(s, c);
	}
}

static void part_with_all(struct server *s)
{
	for (enum conn_list list = 0; list < CONN_LINGERS; list++)
		part_with_list(s, list);
}

/* True: siblings can have more, but not yet. */
static bool offer_again(struct server *s)
{
	struct reception *r = &s->reception;

	if (r->alone || !reception_offer(r))
		return false;
	r->alone = !kept_has_siblings(s->job->handover[0]);
	if (r->alone)
		part_with_all(s);
	return !r->alone;
}

/* For those that nobody else can have: half a request, or an answer that is not read yet; and those
 * that siblings could not have at once: these have no end but that of stop-timeout. */
static void serve_the_rest(struct server *s)
{
	struct reception *r = &s->reception;
	struct epoll_event events[RECEPTION_EVENTS];
	uint64_t now = clock_ms(), end = now + LEAVE_MS, silent = now + RECEPTION_SILENT_MS;
	struct conn *c;

	reception_ignore(r, s->signals);
	reception_ignore(r, s->job->lifeline_fd);
	for (;; now = clock_ms()) {
		bool more = offer_again(s);

		if (r->alone && now >= silent)
			part_with_list(s, CONN_HEAD);
		if (r->crowd.count == 0 || (now >= end && !more))
			break;
		uint64_t limit = (now < silent ? silent : end) - now;
		int n = wait_for_events(s, events, more ? RECEPTION_CROWDED_MS : (int)limit);
		for (int i = 0; i < n; i++)
			if ((c = reception_connection(r, &events[i])) != NULL)
				part_with(s, c);
		reception_expire(r);
	}
}

/* Siblings get the connections. They also get what we were woken for: if the word to leave came at
 * the same time nobody else has been, and it would wait until the next one wakes somebody. */
static void leave_connections(struct server *s)
{
	struct reception *r = &s->reception;
	const struct job *job = s->job;
	struct conn *c;

	r->alone = s->abandoned || orphan.orphaned || !kept_has_siblings(job->handover[0]);
	r->leaving = true;
	for (size_t i = 0; i < job->listener_count && !orphan.orphaned && !r->resting; i++) {
		reception_ignore(r, job->listeners[i]);
		if (!r->alone && (c = reception_accept(r, job->listeners[i])) != NULL)
			part_with(s, c);
	}
	reception_ignore(r, job->handover[1]);
	/* What siblings gave away, or we at our limit, is lost if the last of all does not take it.
	 */
	while ((r->alone || !r->resting) && (c = reception_receive(r, job->handover[1])) != NULL) {
		part_with(s, c);
		if (!r->alone)
			break;
	}
	part_with_all(s);
	serve_the_rest(s);
}

void serve(const struct job *job, const struct board_seat *seat, struct accesslog *log)
{
	static struct server server;
	struct server *s = &server;
	struct epoll_event events[RECEPTION_EVENTS];
	int n = 0;

	s->job = job;
	s->seat = seat;
	s->log = log;
	s->lucky = -1;
	set_title(s, starting);
	if (arrange_signals(s) != 0 || reception_open(&s->reception, job) != 0 ||
		reception_watch(&s->reception, s->signals, RECEPTION_SIGNAL, 0) != 0 ||
		reception_watch(&s->reception, job->lifeline_fd, RECEPTION_LIFELINE, 0) != 0 ||
		(accesslog_is_on(log) && reception_watch(&s->reception, log->socket,
						 RECEPTION_ACCESSLOG, EPOLLET) != 0))
		report_failure(job->start_fd, EX_OSERR, "cannot arrange the accept loop: %s",
			strerror(errno));
	if (prctl(PR_SET_PDEATHSIG, ORPHAN_SIGNAL, 0, 0, 0) != 0 || getppid() != job->master)
		_exit(EX_TEMPFAIL);
	porter_init(&s->porter, job, seat, &s->reception);
	start_application(s);
	set_title(s, idle);
	report_ready(job->start_fd);
	while (!look_for_the_end(s, events, n)) {
		handle_events(s, events, n);
		n = next_events(s, events);
	}
	leave_connections(s);
	if (s->app->stop != NULL)
		s->app->stop();
	/* Nobody but a module has left anything to do at the end: what the libraries would clean up
	 * is gone with the process, and each of their pages would be copied first. */
	if (job->pool->kind != CONF_MODULE)
		_exit(EXIT_SUCCESS);
	exit(EXIT_SUCCESS);
}
