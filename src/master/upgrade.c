/*
 * upgrade: asks a program whether it would take over, and executes it.
 *
 * The answer is a word on its stdout and not only an exit code: any program may exit with 0, and a
 * preforkd that knows nothing of a state would start as a second one. The child is killed when it
 * takes too long and when we die, because it holds all that we hold.
 */
#include "master/upgrade.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/err.h"
#include "common/job.h"
#include "common/log.h"
#include "common/units.h"
#include "master/origin.h"
#include "master/spawn.h"
#include "master/state.h"

#define PATIENCE_MS 10000 /* name services may be slow */
#define CONSENT "preforkd takes over"

/* What the child gets; first what spawn() knows. */
struct question {
	struct job job;
	const struct origin *origin;
	const struct state_out *state;
	char **argv, **environ;
	int output;
};

static size_t length_of(char **list)
{
	size_t n = 0;

	while (list[n] != NULL)
		n++;
	return n;
}

/* The list with one more entry at that place; only the list is for free(). */
static char **with(char **list, size_t place, char *entry)
{
	size_t n = length_of(list);
	char **longer = calloc(n + 2, sizeof(char *));

	if (longer == NULL)
		return NULL;
	memcpy(longer, list, place * sizeof(char *));
	longer[place] = entry;
	memcpy(longer + place + 1, list + place, (n - place) * sizeof(char *));
	return longer;
}

static char *state_variable(int fd)
{
	char *text;

	return asprintf(&text, "%s=%d", STATE_VARIABLE, fd) < 0 ? NULL : text;
}

/* An administrator who may write there may also stop and start us; nobody else has a say in what
 * root runs. */
static int check_binary(const char *path, struct stat *st, struct err *err)
{
	const char *why = NULL;

	if (stat(path, st) != 0 || access(path, X_OK) != 0)
		why = strerror(errno);
	else if (!S_ISREG(st->st_mode))
		why = "it is not a regular file";
	else if (geteuid() == 0 && st->st_uid != 0)
		why = "it does not belong to root";
	else if (geteuid() == 0 && (st->st_mode & (S_IWGRP | S_IWOTH)) != 0)
		why = "it can be written by its group or by others";
	return why == NULL ? 0 : err_set(err, EX_UNAVAILABLE, "cannot run %s: %s", path, why);
}

static void ask_in_child(const struct job *job) __attribute__((noreturn));

static void ask_in_child(const struct job *job)
{
	const struct question *q = (const struct question *)job;

	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (getppid() != q->job.master)
		_exit(EX_TEMPFAIL);
	state_inherit(q->state, true);
	dup2(q->output, STDOUT_FILENO);
	dup2(q->output, STDERR_FILENO);
	execve(q->origin->binary, q->argv, q->environ);
	dprintf(STDERR_FILENO, "cannot run %s: %s\n", q->origin->binary, strerror(errno));
	_exit(EX_UNAVAILABLE);
}

static void on_printed(int fd, short what, void *arg)
{
	struct upgrade *u = arg;
	char bytes[4096];
	ssize_t n = read(fd, bytes, sizeof(bytes));
	size_t room = sizeof(u->text) - 1 - u->used;

	(void)what;
	if (n > 0) {
		room = (size_t)n < room ? (size_t)n : room;
		memcpy(u->text + u->used, bytes, room);
		u->used += room;
	} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		event_del(u->event);
	}
}

static void end_listening(struct upgrade *u)
{
	if (u->event != NULL)
		event_free(u->event);
	if (u->underway)
		close(u->fd);
	u->event = NULL;
	u->underway = false;
}

static int start_child(struct upgrade *u, struct event_base *base, struct question *q)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0)
		return -1;
	fcntl(fds[1], F_SETFL, O_WRONLY); /* the child may wait for us */
	q->output = fds[1];
	u->underway = true;
	u->fd = fds[0];
	u->event = event_new(base, u->fd, EV_READ | EV_PERSIST, on_printed, u);
	if (u->event != NULL && event_add(u->event, NULL) == 0)
		u->pid = spawn(ask_in_child, &q->job);
	close(fds[1]);
	if (u->pid > 0)
		return 0;
	u->pid = 0;
	end_listening(u);
	return -1;
}

int upgrade_ask(struct upgrade *u, struct event_base *base, const struct origin *origin,
	const struct state_out *state, uint64_t now, struct err *err)
{
	static char test[] = "-t";
	struct question q = { .job = { .master = getpid() }, .origin = origin, .state = state };
	char *variable = state_variable(state_fd(state));
	int rc = -1;

	*u = (struct upgrade){ .deadline = now + PATIENCE_MS };
	if (check_binary(origin->binary, &u->asked, err) != 0) {
		free(variable);
		return -1;
	}
	q.argv = with(origin->argv, origin->argv[0] == NULL ? 0 : 1, test);
	q.environ = variable == NULL ? NULL : with(origin->environ, 0, variable);
	if (q.argv == NULL || q.environ == NULL)
		err_set(err, EX_OSERR, "out of memory");
	else if (start_child(u, base, &q) != 0)
		err_set(err, EX_OSERR, "cannot start a process: %s", strerror(errno));
	else
		rc = 0;
	free(q.argv);
	free(q.environ);
	free(variable);
	return rc;
}

bool upgrade_died(struct upgrade *u, pid_t pid, int status)
{
	if (u->pid == 0 || pid != u->pid)
		return false;
	kill(-pid, SIGKILL); /* what it left behind holds all that we hold */
	u->status = status;
	u->pid = 0;
	return true;
}

/* What it printed, but for its consent, goes to the log; the first line is the reason if it
 * refuses. */
static bool hear(struct upgrade *u, char *first, size_t size)
{
	char *rest = u->text, line[1200];
	bool consents = false;

	first[0] = '\0';
	u->text[u->used] = '\0';
	for (char *at; (at = strsep(&rest, "\n")) != NULL;) {
		if (at[0] == '\0')
			continue;
		if (strcmp(at, CONSENT) == 0) {
			consents = true;
			continue;
		}
		log_escape(at, strlen(at), line, sizeof(line));
		log_notice("upgrade: the new program says: %s", line);
		if (first[0] == '\0')
			snprintf(first, size, "%.250s", line);
	}
	return consents;
}

static int judge(struct upgrade *u, const struct origin *origin, struct err *err)
{
	char first[300], how[64];
	bool consents = hear(u, first, sizeof(first)), fine = u->status == 0;
	struct stat st;

	spawn_status_text(u->status, how, sizeof(how));
	if (u->late)
		return err_set(err, EX_UNAVAILABLE, "%s did not answer within %d seconds",
			origin->binary, PATIENCE_MS / 1000);
	if (!fine)
		return err_set(err, EX_UNAVAILABLE, "%s %s%s%s", origin->binary, how,
			first[0] != '\0' ? ": " : "", first);
	if (!consents)
		return err_set(err, EX_UNAVAILABLE, "%s is no preforkd that can take over",
			origin->binary);
	if (check_binary(origin->binary, &st, err) != 0)
		return -1;
	if (st.st_dev != u->asked.st_dev || st.st_ino != u->asked.st_ino ||
		st.st_size != u->asked.st_size || st.st_mtim.tv_sec != u->asked.st_mtim.tv_sec ||
		st.st_mtim.tv_nsec != u->asked.st_mtim.tv_nsec)
		return err_set(
			err, EX_UNAVAILABLE, "%s was replaced while it was asked", origin->binary);
	return 0;
}

enum upgrade_news upgrade_follow(struct upgrade *u, const struct origin *origin, uint64_t *next,
	uint64_t now, struct err *err)
{
	if (!u->underway)
		return UPGRADE_NONE;
	if (u->pid > 0) {
		if (now >= u->deadline) {
			u->late = true;
			u->deadline = UINT64_MAX;
			kill(-u->pid, SIGKILL);
			kill(u->pid, SIGKILL);
		}
		*next = *next < u->deadline ? *next : u->deadline;
		return UPGRADE_ASKING;
	}
	for (size_t before = SIZE_MAX; u->used != before;) {
		before = u->used;
		on_printed(u->fd, EV_READ, u); /* what was in the pipe when it died */
	}
	end_listening(u);
	return judge(u, origin, err) == 0 ? UPGRADE_GRANTED : UPGRADE_REFUSED;
}

bool upgrade_is_underway(const struct upgrade *u)
{
	return u->underway;
}

void upgrade_cancel(struct upgrade *u)
{
	if (u->pid > 0)
		kill(-u->pid, SIGKILL);
	end_listening(u);
}

void upgrade_execute(const struct origin *origin, const struct state_out *state, struct err *err)
{
	char *variable = state_variable(state_fd(state));
	char **variables = variable == NULL ? NULL : with(origin->environ, 0, variable);

	if (variables != NULL) {
		state_inherit(state, true);
		execve(origin->binary, origin->argv, variables);
		err_set(err, EX_OSERR, "cannot run %s: %s", origin->binary, strerror(errno));
		state_inherit(state, false);
	} else {
		err_set(err, EX_OSERR, "out of memory");
	}
	free(variables);
	free(variable);
}

int upgrade_inherited(void)
{
	const char *text = getenv(STATE_VARIABLE);
	uint64_t fd;
	bool named =
		text != NULL && units_number(text, STDERR_FILENO + 1, INT32_MAX, &fd, NULL) == 0;

	unsetenv(STATE_VARIABLE);
	return named ? (int)fd : -1;
}

void upgrade_consent(FILE *out)
{
	fprintf(out, "\n%s\n", CONSENT);
}
