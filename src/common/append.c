/*
 * append: goes from directory to directory by descriptors, so that what was looked at is what is
 * used.
 */
#include "common/append.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/err.h"

#define LINKS_MAX 40 /* as path_resolution(7) */

/* On the way: the directory so far, and what is still to go. */
struct walk {
	int dir;
	unsigned links;
	char rest[PATH_MAX];
};

static int set_error(struct err *err, const char *path, const char *why)
{
	return err_set(err, EX_CANTCREAT, "cannot open %s: %s", path, why);
}

static bool is_ours(uid_t uid)
{
	return uid == 0 || uid == geteuid();
}

/* Nobody else can have put this link here. */
static bool is_trusted(int dir, const struct stat *link)
{
	struct stat st;

	if (fstat(dir, &st) != 0 || !is_ours(st.st_uid))
		return false;
	if ((st.st_mode & (S_IWGRP | S_IWOTH)) == 0)
		return true;
	return (st.st_mode & S_ISVTX) != 0 && is_ours(link->st_uid);
}

/* Cuts the first name off; false: it is the last one. */
static bool next_name(struct walk *w, char name[PATH_MAX])
{
	const char *from = w->rest + strspn(w->rest, "/");
	size_t length = strcspn(from, "/");
	const char *rest = from + length + strspn(from + length, "/");

	memcpy(name, from, length);
	name[length] = '\0';
	if (*rest == '\0')
		return false;
	memmove(w->rest, rest, strlen(rest) + 1);
	return true;
}

static int enter(struct walk *w, int fd)
{
	if (fd < 0)
		return -1;
	close(w->dir);
	w->dir = fd;
	return 0;
}

/* The link's target, and then the rest, are what is to go. */
static int follow(struct walk *w, int link)
{
	char target[PATH_MAX], all[2 * PATH_MAX];
	ssize_t n = readlinkat(link, "", target, sizeof(target));

	if (n < 0)
		return -1;
	snprintf(all, sizeof(all), "%.*s/%s", (int)n, target, w->rest);
	if (n == (ssize_t)sizeof(target) || strlen(all) >= sizeof(w->rest) ||
		++w->links > LINKS_MAX) {
		errno = ELOOP;
		return -1;
	}
	memcpy(w->rest, all, strlen(all) + 1);
	return target[0] == '/' ? enter(w, open("/", O_PATH | O_DIRECTORY | O_CLOEXEC)) : 0;
}

/* One directory further. -1 with errno; 0 there: *why says it. */
static int step(struct walk *w, const char *name, const char **why)
{
	int fd = openat(w->dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	int rc = -1;

	*why = NULL;
	if (fd < 0 || fstat(fd, &st) != 0) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	if (S_ISDIR(st.st_mode))
		return enter(w, fd);
	if (!S_ISLNK(st.st_mode))
		errno = ENOTDIR;
	else if (!is_trusted(w->dir, &st))
		*why = "a symbolic link on the way is where others could have put it";
	else
		rc = follow(w, fd);
	close(fd);
	return rc;
}

/* The directory of the file, and the file's name. -1 with *err filled. */
static int find_directory(const char *path, char name[PATH_MAX], struct err *err)
{
	struct walk w = { .dir = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC) };
	const char *why = NULL;

	if (w.dir < 0 || strlen(path) >= sizeof(w.rest)) {
		if (w.dir >= 0)
			close(w.dir);
		return set_error(err, path, w.dir < 0 ? strerror(errno) : strerror(ENAMETOOLONG));
	}
	memcpy(w.rest, path, strlen(path) + 1);
	while (next_name(&w, name))
		if (step(&w, name, &why) != 0) {
			set_error(err, path, why != NULL ? why : strerror(errno));
			close(w.dir);
			return -1;
		}
	return w.dir;
}

/* flags: O_CREAT to make it. */
struct target {
	const char *path;
	enum append_kind kind;
	int flags;
};

static int open_file(int dir, const char *name, const struct target *target, struct err *err)
{
	bool any = target->kind == APPEND_ANY;
	struct stat st = { 0 };
	int fd = openat(dir, name,
		O_WRONLY | O_APPEND | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK |
			target->flags,
		0640);

	if (fd < 0)
		return set_error(err, target->path,
			errno == ELOOP           ? "it is a symbolic link"
			: errno == ENXIO && !any ? "it is not a regular file" /* a pipe, a socket */
						 : strerror(errno));
	if (fstat(fd, &st) == 0 && (S_ISREG(st.st_mode) ? st.st_nlink == 1 : any))
		return fd;
	set_error(err, target->path,
		S_ISREG(st.st_mode) ? "it has more than one link" : "it is not a regular file");
	close(fd);
	return -1;
}

int append_open(const char *path, enum append_kind kind, struct err *err)
{
	const struct target target = { .path = path, .kind = kind, .flags = O_CREAT };
	char name[PATH_MAX];
	int dir = find_directory(path, name, err);

	if (dir < 0)
		return -1;
	int fd = open_file(dir, name, &target, err);
	close(dir);
	return fd;
}

int append_check(const char *path, enum append_kind kind, struct err *err)
{
	const struct target target = { .path = path, .kind = kind };
	char name[PATH_MAX];
	struct stat st;
	int dir = find_directory(path, name, err), rc = 0;

	if (dir < 0)
		return -1;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		int fd = open_file(dir, name, &target, err);

		rc = fd < 0 ? -1 : close(fd);
	} else if (errno != ENOENT || faccessat(dir, ".", W_OK | X_OK, AT_EACCESS) != 0) {
		rc = set_error(err, path, strerror(errno));
	}
	close(dir);
	return rc;
}
