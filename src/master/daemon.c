/*
 * daemon: pidfile, detaching, readiness.
 *
 * One fork only: the daemon is a session leader, but it opens no terminal without O_NOCTTY, which
 * is what the second fork would guard against.
 */
#include "master/daemon.h"

#include <bsd/libutil.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/err.h"
#include "common/log.h"
#include "master/state.h"

#define DAEMON_RUNNING EX_TEMPFAIL /* 75 */

struct pidfile {
	struct pidfh *lock;  /* NULL: it was locked by an earlier image */
	int fd;              /* that holds the lock */
	char *path, *result; /* the result file's path: PATH.reload */
	dev_t dev;
	ino_t ino;
};

static const struct state_row rows[] = {
	STATE_ROW(FD, struct pidfile, fd, 0),
	STATE_ROW(STRING, struct pidfile, path, 0),
	STATE_ROW(STRING, struct pidfile, result, 0),
	STATE_ROW(NUMBER, struct pidfile, dev, UINT64_MAX),
	STATE_ROW(NUMBER, struct pidfile, ino, UINT64_MAX),
	STATE_END,
};

static int waiting_parent = -1; /* write end of the pipe to the process that detached us */

void daemon_fill_standard(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR | O_NOCTTY);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

/* A directory in which others can move files would let them swap the pidfile under us. */
static int check_directory(const char *path, struct err *err)
{
	char *copy = strdup(path);
	struct stat st;
	int rc = 0;

	if (copy == NULL)
		return err_set(err, EX_OSERR, "out of memory");
	const char *dir = dirname(copy);
	if (stat(dir, &st) != 0)
		rc = err_set(err, EX_CANTCREAT, "cannot create pidfile %s: %s: %s", path, dir,
			strerror(errno));
	else if (st.st_uid != 0 && st.st_uid != geteuid())
		rc = err_set(err, EX_CANTCREAT,
			"cannot trust pidfile %s: %s belongs to another user", path, dir);
	else if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0 && (st.st_mode & S_ISVTX) == 0)
		rc = err_set(err, EX_CANTCREAT, "cannot trust pidfile %s: others may write in %s",
			path, dir);
	free(copy);
	return rc;
}

static const char *refusal(const struct stat *st)
{
	if (!S_ISREG(st->st_mode))
		return "it is not a regular file";
	if (st->st_uid != geteuid())
		return "it belongs to another user";
	if (st->st_nlink != 1)
		return "it has more than one link";
	return NULL;
}

/* Our own look at the file before libbsd opens it by path. Fills *st; *pid is what stands in it. */
static int check_file(const char *path, int flags, struct stat *st, long *pid, struct err *err)
{
	char text[32] = "";
	int fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | flags, 0600);

	if (fd < 0)
		return err_set(err, EX_CANTCREAT, "cannot create pidfile %s: %s", path,
			errno == ELOOP ? "it is a symbolic link" : strerror(errno));
	const char *why = fstat(fd, st) != 0 ? strerror(errno) : refusal(st);
	if (why == NULL && (st->st_mode & 07777) != 0600)
		fchmod(fd, 0600); /* whoever may open it for reading could hold the lock */
	if (read(fd, text, sizeof(text) - 1) < 0)
		text[0] = '\0';
	*pid = strtol(text, NULL, 10);
	close(fd);
	return why == NULL ? 0 : err_set(err, EX_CANTCREAT, "cannot use pidfile %s: %s", path, why);
}

static struct pidfh *lock(const char *path, const struct stat *seen, struct err *err)
{
	struct stat st;
	pid_t other = -1;
	struct pidfh *fh = pidfile_open(path, 0600, &other);

	if (fh == NULL) {
		if ((errno == EEXIST || errno == EAGAIN) && other > 0)
			err_set(err, DAEMON_RUNNING, "already running, pid %d", (int)other);
		else if (errno == EEXIST || errno == EAGAIN)
			err_set(err, DAEMON_RUNNING, "already running: another start holds %s",
				path);
		else
			err_set(err, EX_CANTCREAT, "cannot lock pidfile %s: %s", path,
				strerror(errno));
		return NULL;
	}
	fcntl(pidfile_fileno(fh), F_SETFD, FD_CLOEXEC);
	if (fstat(pidfile_fileno(fh), &st) == 0 && st.st_dev == seen->st_dev &&
		st.st_ino == seen->st_ino)
		return fh;
	pidfile_close(fh);
	err_set(err, EX_CANTCREAT, "cannot use pidfile %s: it was replaced while it was opened",
		path);
	return NULL;
}

struct pidfile *daemon_lock(const char *path, bool *unclean, struct err *err)
{
	struct pidfile *p = calloc(1, sizeof(*p));
	struct stat st = { 0 };
	long pid = 0;

	if (p == NULL || (p->path = strdup(path)) == NULL ||
		asprintf(&p->result, "%s.reload", path) < 0) {
		err_set(err, EX_OSERR, "out of memory");
		goto fail;
	}
	/* A master that ends removes the file between our look and our lock: look again. */
	for (int tries = 0; p->lock == NULL; tries++) {
		if (check_directory(path, err) != 0 ||
			check_file(path, O_CREAT, &st, &pid, err) != 0)
			goto fail;
		p->lock = lock(path, &st, err);
		if (p->lock == NULL && (err->code == DAEMON_RUNNING || tries == 10))
			goto fail;
	}
	p->fd = pidfile_fileno(p->lock);
	p->dev = st.st_dev;
	p->ino = st.st_ino;
	*unclean = pid > 0;
	return p;
fail:
	if (p != NULL) {
		free(p->path);
		free(p->result);
	}
	free(p);
	return NULL;
}

int daemon_write_pid(struct pidfile *p, struct err *err)
{
	if (p == NULL)
		return 0;
	if (pidfile_write(p->lock) != 0)
		return err_set(
			err, EX_CANTCREAT, "cannot write pidfile %s: %s", p->path, strerror(errno));
	return 0;
}

void daemon_unlock(struct pidfile *p)
{
	struct stat st;

	if (p == NULL)
		return;
	/* Before the lock is given up: whoever waits for it finds no file of ours. */
	if (lstat(p->path, &st) == 0 && st.st_dev == p->dev && st.st_ino == p->ino) {
		unlink(p->result);
		unlink(p->path);
	}
	if (p->lock != NULL)
		pidfile_close(p->lock);
	else
		close(p->fd);
	free(p->path);
	free(p->result);
	free(p);
}

void daemon_save(const struct pidfile *p, struct state_out *out)
{
	if (p != NULL)
		state_put(out, "pidfile", rows, p);
}

int daemon_restore(struct pidfile **pidfile, struct state_in *in, struct err *err)
{
	*pidfile = NULL;
	if (!state_has(in, "pidfile"))
		return 0;
	struct pidfile *p = calloc(1, sizeof(*p));
	if (p == NULL)
		return err_set(err, EX_OSERR, "out of memory");
	p->fd = -1;
	if (state_take(in, "pidfile", rows, p, err) != 0)
		return -1;
	if (p->fd < 0 || p->path == NULL || p->result == NULL)
		return err_set(err, EX_SOFTWARE, "the state has an odd pidfile");
	*pidfile = p;
	return 0;
}

void daemon_abandon(void)
{
	char path[64];
	int pid;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	FILE *children = fopen(path, "re");
	while (children != NULL && fscanf(children, "%d", &pid) == 1)
		kill(pid, SIGTERM);
	if (children != NULL)
		fclose(children);
	close_range(STDERR_FILENO + 1, ~0u, 0); /* the end of the life-line, too */
}

pid_t daemon_holder(const char *path, struct err *err)
{
	struct stat st;
	pid_t other = 0;
	long pid;

	if (check_directory(path, err) != 0)
		return -1;
	if (lstat(path, &st) != 0 && errno == ENOENT) {
		char *copy = strdup(path);
		int rc = copy == NULL ? -1 : access(dirname(copy), W_OK);

		free(copy);
		return rc == 0 ? 0
			       : err_set(err, EX_CANTCREAT, "cannot create pidfile %s: %s", path,
					 strerror(errno));
	}
	if (check_file(path, 0, &st, &pid, err) != 0)
		return -1;
	struct pidfh *fh = pidfile_open(path, 0600, &other);
	if (fh == NULL)
		return other > 0 ? other : (pid_t)pid;
	/* Nobody holds it; opening it has emptied it, which says "clean" to the next start. Write
	 * back what stood there, so that looking has changed nothing. */
	if (pid > 0)
		dprintf(pidfile_fileno(fh), "%ld", pid);
	pidfile_close(fh);
	return 0;
}

void daemon_write_result(const struct pidfile *p, const char *line)
{
	char temporary[4096];

	if (p == NULL)
		return;
	/* Renamed into place, so that a reader sees the whole line. The directory was checked. */
	snprintf(temporary, sizeof(temporary), "%s.new", p->result);
	unlink(temporary);
	int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0 || dprintf(fd, "%s\n", line) < 0 || rename(temporary, p->result) != 0)
		log_err("cannot write %s: %s", p->result, strerror(errno));
	if (fd >= 0)
		close(fd);
}

/* The parent's whole life: print what the daemon says, exit with its code. */
static void __attribute__((noreturn)) wait_for_report(int fd, pid_t child)
{
	struct err said;
	char *to = (char *)&said;
	size_t have = 0;
	ssize_t n;
	int status = 0;
	sigset_t none;

	sigemptyset(&none); /* who waits may lose patience */
	sigprocmask(SIG_SETMASK, &none, NULL);
	while (have < sizeof(said) && (n = read(fd, to + have, sizeof(said) - have)) != 0) {
		if (n > 0)
			have += (size_t)n;
		else if (errno != EINTR)
			break;
	}
	if (have == sizeof(said)) {
		said.text[sizeof(said.text) - 1] = '\0';
		if (said.code != 0) {
			fprintf(stderr, "preforkd: %s\n", said.text);
			waitpid(child, &status, 0); /* it has cleaned up when we return */
		}
		_exit(said.code);
	}
	waitpid(child, &status, 0);
	fprintf(stderr, "preforkd: the daemon died before it was ready (wait status %#x)\n",
		(unsigned)status);
	_exit(EX_OSERR);
}

int daemon_detach(struct err *err)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) != 0)
		return err_set(err, EX_OSERR, "cannot make a pipe: %s", strerror(errno));
	pid_t pid = fork();
	if (pid < 0)
		return err_set(err, EX_OSERR, "cannot fork: %s", strerror(errno));
	if (pid > 0) {
		close(fds[1]);
		wait_for_report(fds[0], pid);
	}
	close(fds[0]);
	waiting_parent = fds[1];
	setsid();
	if (chdir("/") != 0)
		return err_set(err, EX_OSERR, "cannot change to /: %s", strerror(errno));
	return 0;
}

static void silence_standard(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC | O_NOCTTY);

	for (int i = 0; fd >= 0 && i <= STDERR_FILENO; i++)
		dup2(fd, i);
	if (fd > STDERR_FILENO)
		close(fd);
}

void daemon_report(int code, const char *sentence)
{
	struct err said = { .code = code };

	if (waiting_parent < 0) {
		if (code != 0)
			fprintf(stderr, "preforkd: %s\n", sentence);
		return;
	}
	snprintf(said.text, sizeof(said.text), "%s", sentence);
	if (code == 0)
		silence_standard();
	if (write(waiting_parent, &said, sizeof(said)) != (ssize_t)sizeof(said))
		log_warning("the starting command is gone and cannot be told");
	close(waiting_parent);
	waiting_parent = -1;
}
