/*
 * desk: owns the gate's listeners, its socket pairs and its ledger.
 *
 * What comes from the gate comes from an unprivileged process that talks to strangers: messages of
 * one size, every field checked, and only so many in a turn of the loop.
 */
#include "master/desk.h"

#include <errno.h>
#include <event2/event.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/conf.h"
#include "common/err.h"
#include "common/ledger.h"
#include "common/log.h"
#include "master/door.h"
#include "master/policy.h"
#include "master/spawn.h"
#include "master/state.h"

#define AT_ONCE 1000        /* ms: one that lived so long is started again at once */
#define DELAY_MIN 100       /* ms: after one that did not */
#define DELAY_MAX 5000      /* ms */
#define PATIENCE 1000       /* ms that one may take to end */
#define PARTING 500         /* ms that a former one is listened to in any case */
#define MESSAGES_PER_TURN 8 /* more of them wait: each can cost two lines of the log */
#define TURN 40             /* ms */

struct line {
	pid_t pid; /* 0: none */
	int fd;    /* -1: none; the process is on its way out */
	struct event *event;
	bool listening, readable;
	bool deaf;     /* nothing more is taken from it */
	unsigned left; /* messages that it may send in this turn */
	uint64_t turn; /* when the next begins */
	uint64_t started;
	uint64_t deadline; /* of its end; 0: it is not to end */
};

struct desk {
	gatejob_body body;
	struct door control, http;
	uid_t uid;
	gid_t gid, control_gid;
	bool grouped;
	struct line lines[DESK_LINES];
	struct ledger *ledger;
	unsigned restarts;
	uint64_t delay, start_at;
	bool ending, relieve; /* relieve: the former one has to be told */
	uint64_t part_at;     /* until then it may have sent something */
};

static const struct state_row rows[] = {
	STATE_ROW(FD, struct desk, control.fd, 0),
	STATE_ROW(FD, struct desk, control.file.dir, 0),
	STATE_ROW(TEXT, struct desk, control.file.name, 0),
	STATE_ROW(NUMBER, struct desk, control.file.dev, UINT64_MAX),
	STATE_ROW(NUMBER, struct desk, control.file.ino, UINT64_MAX),
	STATE_ROW(FD, struct desk, http.fd, 0),
	STATE_ROW(NUMBER, struct desk, uid, UINT32_MAX),
	STATE_ROW(NUMBER, struct desk, gid, UINT32_MAX),
	STATE_ROW(NUMBER, struct desk, grouped, 1),
	STATE_ROW(NUMBER, struct desk, control_gid, UINT32_MAX),
	STATE_ROW(NUMBER, struct desk, restarts, UINT_MAX),
	STATE_ROW(NUMBER, struct desk, lines[DESK_NOW].pid, INT_MAX),
	STATE_ROW(FD, struct desk, lines[DESK_NOW].fd, 0),
	STATE_ROW(NUMBER, struct desk, lines[DESK_FORMER].pid, INT_MAX),
	STATE_END,
};

struct desk *desk_new(gatejob_body body)
{
	struct desk *d = calloc(1, sizeof(*d));

	if (d == NULL)
		return NULL;
	d->body = body;
	d->control = d->http = (struct door)DOOR_NONE;
	for (int i = 0; i < DESK_LINES; i++)
		d->lines[i].fd = -1;
	return d;
}

static int open_door(struct desk *d, struct door *door, const struct conf *conf, const char *key,
	const char *text, struct err *err)
{
	char where[300];
	struct err why;

	if (text == NULL || door_open(door, text, d->grouped, d->control_gid, &why) == 0)
		return 0;
	return err_set(err, why.code, "%s: %s: %s",
		conf_where_main(conf, key, where, sizeof(where)), key, why.text);
}

int desk_open(struct desk *d, const struct conf *conf, struct err *err)
{
	d->uid = conf->gate_uid;
	d->gid = conf->gate_gid;
	d->grouped = conf->control_group != NULL;
	d->control_gid = conf->control_gid;
	if (open_door(d, &d->control, conf, "control", conf->control, err) == 0 &&
		open_door(d, &d->http, conf, "http", conf->http, err) == 0)
		return 0;
	door_close(&d->control);
	return -1;
}

static bool is_wanted(const struct desk *d)
{
	return d->control.fd >= 0 || d->http.fd >= 0;
}

static void stop_listening(struct line *l)
{
	if (l->event != NULL)
		event_free(l->event);
	l->event = NULL;
	l->readable = l->listening = false;
	l->deaf = true;
}

static void hang_up(struct line *l)
{
	stop_listening(l);
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
}

void desk_free(struct desk *d)
{
	if (d == NULL)
		return;
	for (int i = 0; i < DESK_LINES; i++)
		hang_up(&d->lines[i]);
	ledger_close(d->ledger);
	door_close(&d->control);
	door_close(&d->http);
	free(d);
}

/* First what spawn() knows. */
struct hire {
	struct job job;
	gatejob_body body;
	struct gatejob gate;
};

static void begin_work(const struct job *job) __attribute__((noreturn));

static void begin_work(const struct job *job)
{
	const struct hire *hire = (const struct hire *)job;

	hire->body(&hire->gate);
}

static int mend(struct desk *d, struct err *err)
{
	if (door_mend(&d->control, d->grouped, d->control_gid, err) != 0)
		return -1;
	return door_mend(&d->http, false, 0, err);
}

static int start(struct desk *d, uint64_t now, struct err *err)
{
	struct line *l = &d->lines[DESK_NOW];
	struct hire hire = { .body = d->body,
		.gate = { .drops = geteuid() == 0,
			.uid = d->uid,
			.gid = d->gid,
			.daemon_uid = geteuid(),
			.grouped = d->grouped,
			.control_gid = d->control_gid,
			.master = getpid() } };
	int pair[2];

	if (mend(d, err) != 0)
		return -1;
	hire.gate.control_fd = d->control.fd;
	hire.gate.http_fd = d->http.fd;
	ledger_close(d->ledger); /* a new one each: the last one was mapped by a stranger */
	d->ledger = ledger_create();
	if (d->ledger == NULL ||
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
		return err_set(err, EX_OSERR, "%s", strerror(errno));
	hire.gate.ledger_fd = ledger_fd(d->ledger);
	hire.gate.line_fd = pair[1];
	*l = (struct line){ .fd = pair[0], .started = now };
	l->pid = spawn(begin_work, &hire.job);
	int reason = errno;
	close(pair[1]);
	if (l->pid > 0)
		return 0;
	l->pid = 0;
	hang_up(l);
	return err_set(err, EX_OSERR, "%s", strerror(reason));
}

static void on_message(int fd, short what, void *arg)
{
	struct line *l = arg;

	(void)fd, (void)what;
	l->readable = true;
	l->listening = false;
}

static void listen_to(struct line *l, struct event_base *base)
{
	if (l->fd < 0 || l->deaf || l->readable || l->listening)
		return;
	if (l->event == NULL)
		l->event = event_new(base, l->fd, EV_READ, on_message, l);
	l->listening = l->event != NULL && event_add(l->event, NULL) == 0;
}

static void dismiss(struct line *l, const char *why)
{
	log_err("the gate %d %s, killed", (int)l->pid, why);
	kill(l->pid, SIGKILL);
	hang_up(l);
}

static uint64_t follow_line(struct line *l, struct event_base *base, uint64_t now)
{
	if (now >= l->turn) {
		l->left = MESSAGES_PER_TURN;
		l->turn = now + TURN;
	}
	listen_to(l, base);
	if (l->pid > 0 && l->deadline != 0 && now >= l->deadline) {
		kill(l->pid, SIGKILL);
		l->deadline = UINT64_MAX;
	}
	uint64_t next = l->pid > 0 && l->deadline != 0 ? l->deadline : UINT64_MAX;
	return l->readable ? policy_earlier(next, l->turn) : next;
}

static void leave(struct line *l, uint64_t now)
{
	hang_up(l);
	if (l->deadline == 0)
		l->deadline = now + PATIENCE;
}

static uint64_t follow_former(struct desk *d, bool owed, uint64_t now)
{
	struct line *l = &d->lines[DESK_FORMER];

	if (d->relieve) {
		d->relieve = false;
		d->part_at = now + PARTING;
		desk_answer(d, DESK_FORMER, 0, GATEJOB_RELIEVED, "");
	}
	if (l->fd < 0)
		return UINT64_MAX;
	if (now < d->part_at)
		return d->part_at;
	stop_listening(l); /* or it could stay for as long as it asks for something */
	if (!owed)
		leave(l, now);
	return UINT64_MAX;
}

uint64_t desk_follow(struct desk *d, struct event_base *base, bool owed, uint64_t now)
{
	uint64_t next = follow_former(d, owed, now);
	struct err err;

	if (is_wanted(d) && !d->ending && d->lines[DESK_NOW].pid == 0) {
		if (now >= d->start_at && start(d, now, &err) != 0) {
			log_err("cannot start the gate: %s", err.text);
			d->start_at = now + DELAY_MAX;
		}
		if (d->lines[DESK_NOW].pid == 0)
			next = policy_earlier(next, d->start_at);
	}
	for (int i = 0; i < DESK_LINES; i++)
		next = policy_earlier(next, follow_line(&d->lines[i], base, now));
	return next;
}

static bool is_valid(const struct gatejob_request *r)
{
	size_t length = strnlen(r->pool, sizeof(r->pool));
	bool has_pool = r->verb == GATEJOB_RELOAD_POOL || r->verb == GATEJOB_SCALE ||
			r->verb == GATEJOB_DRAIN || r->verb == GATEJOB_UNDRAIN;

	if (r->id == 0 || r->verb >= GATEJOB_VERB_COUNT || length == sizeof(r->pool) ||
		(length > 0) != has_pool || (r->number != 0 && r->verb != GATEJOB_SCALE))
		return false;
	for (size_t i = length; i < sizeof(r->pool); i++)
		if (r->pool[i] != '\0')
			return false;
	return true;
}

static bool take(struct line *l, struct gatejob_request *out, uint64_t now)
{
	if (!l->readable || l->left == 0)
		return false;
	ssize_t n = recv(l->fd, out, sizeof(*out), MSG_DONTWAIT | MSG_TRUNC);
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		l->readable = false;
		return false;
	}
	if (n <= 0) { /* its death follows, or is brought about: one without a line is of no use */
		leave(l, now);
		return false;
	}
	l->left--;
	if (n == (ssize_t)sizeof(*out) && is_valid(out))
		return true;
	dismiss(l, "has sent what it should not");
	return false;
}

bool desk_receive(struct desk *d, enum desk_line *from, struct gatejob_request *out, uint64_t now)
{
	for (int i = 0; i < DESK_LINES; i++) {
		*from = (enum desk_line)i;
		if (take(&d->lines[i], out, now))
			return true;
	}
	return false;
}

void desk_answer(struct desk *d, enum desk_line to, uint64_t id, enum gatejob_status status,
	const char *text)
{
	struct line *l = &d->lines[to];
	struct gatejob_answer answer = { .id = id, .status = status };

	if (l->fd < 0)
		return;
	snprintf(answer.text, sizeof(answer.text), "%s", text);
	if (send(l->fd, &answer, sizeof(answer), MSG_DONTWAIT | MSG_NOSIGNAL) < 0 &&
		errno != EPIPE && errno != ECONNRESET)
		dismiss(l, "does not read its answers");
}

struct ledger *desk_ledger(const struct desk *d)
{
	return d->lines[DESK_NOW].fd < 0 ? NULL : d->ledger;
}

pid_t desk_pid(const struct desk *d)
{
	return d->lines[DESK_NOW].pid;
}

unsigned desk_restarts(const struct desk *d)
{
	return d->restarts;
}

static void plan_restart(struct desk *d, const struct line *l, int status, uint64_t now)
{
	char how[64];

	if (now - l->started >= AT_ONCE)
		d->delay = 0;
	else
		d->delay = d->delay == 0 ? DELAY_MIN
					 : (2 * d->delay < DELAY_MAX ? 2 * d->delay : DELAY_MAX);
	d->start_at = now + d->delay;
	d->restarts++;
	log_warning("the gate %d %s; the next one starts in %u ms", (int)l->pid,
		spawn_status_text(status, how, sizeof(how)), (unsigned)d->delay);
}

bool desk_died(struct desk *d, pid_t pid, int status, uint64_t now)
{
	for (int i = 0; i < DESK_LINES; i++) {
		struct line *l = &d->lines[i];

		if (l->pid != pid || pid == 0)
			continue;
		hang_up(l);
		if (i == DESK_NOW && !d->ending)
			plan_restart(d, l, status, now);
		l->pid = 0;
		return true;
	}
	return false;
}

bool desk_end(struct desk *d, uint64_t now)
{
	bool gone = true;

	d->ending = true;
	for (int i = 0; i < DESK_LINES; i++) {
		struct line *l = &d->lines[i];

		leave(l, now);
		gone = gone && l->pid == 0;
	}
	return gone;
}

void desk_save(const struct desk *d, struct state_out *out)
{
	if (d->lines[DESK_OLDER].pid > 0) /* it is known no longer; and it has had its time */
		kill(d->lines[DESK_OLDER].pid, SIGKILL);
	state_put(out, "desk", rows, d);
}

int desk_restore(struct desk *d, struct state_in *in, struct err *err)
{
	if (!state_has(in, "desk"))
		return 0; /* of a version without a gate */
	if (state_take(in, "desk", rows, d, err) != 0)
		return -1;
	if (is_wanted(d) && geteuid() == 0 && d->uid == 0)
		return err_set(err, EX_SOFTWARE, "the state does not name the gate's user");
	if (d->lines[DESK_FORMER].pid > 0) {
		d->lines[DESK_OLDER].pid = d->lines[DESK_FORMER].pid;
		d->lines[DESK_OLDER].deadline = clock_ms() + PATIENCE;
	}
	d->lines[DESK_FORMER] = d->lines[DESK_NOW];
	d->lines[DESK_NOW] = (struct line){ .fd = -1 };
	d->lines[DESK_FORMER].readable = d->lines[DESK_FORMER].fd >= 0;
	d->relieve = d->lines[DESK_FORMER].readable;
	return 0;
}
