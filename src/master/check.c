/*
 * check: asks the name service and the file system before anything is started.
 *
 * Done once, by the master, so that no worker needs the name service after chroot. What is found
 * here can change later; the worker finds that out for itself and says so.
 */
#include "master/check.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <paths.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/append.h"
#include "common/conf.h"
#include "common/err.h"
#include "common/log.h"
#include "master/account.h"
#include "master/checkgate.h"

#define GROUPS_MAX 1024

/* One pool under check. */
struct check {
	struct conf_pool *pool;
	struct err_list *errors;
};

static void complain(const struct check *c, const char *key, int code, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

static void complain(const struct check *c, const char *key, int code, const char *fmt, ...)
{
	char where[300], text[400], escaped[sizeof(text) * 4];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	err_list_add(c->errors, code, "%s: pool %s: %s",
		conf_where(c->pool, key, where, sizeof(where)), c->pool->name,
		log_escape(text, strlen(text), escaped, sizeof(escaped)));
}

static void set_text(char **to, const char *text)
{
	free(*to);
	*to = strdup(text);
}

/* The ids of "groups =", or those of the user where it is not given. */
static void check_groups(const struct check *c, const char *user)
{
	struct conf_pool *pool = c->pool;
	int n = 0;

	free(pool->gids);
	pool->gids = calloc(GROUPS_MAX, sizeof(gid_t));
	pool->gid_count = 0;
	if (pool->gids == NULL)
		return;
	if (pool->groups == NULL) {
		n = GROUPS_MAX;
		if (getgrouplist(user, pool->gid, pool->gids, &n) < 0)
			complain(c, "user", EX_NOPERM, "user \"%s\" has more than %d groups", user,
				GROUPS_MAX);
		else
			pool->gid_count = (size_t)n;
		return;
	}
	pool->gids[pool->gid_count++] = pool->gid;
	for (char **g = pool->groups; *g != NULL && pool->gid_count < GROUPS_MAX; g++) {
		if (account_group(*g, &pool->gids[pool->gid_count]) != 0)
			complain(c, "groups", EX_NOPERM, "there is no group \"%s\"", *g);
		else
			pool->gid_count++;
	}
}

static void check_user_as_root(const struct check *c)
{
	struct conf_pool *pool = c->pool;
	const char *name = pool->user != NULL ? pool->user : "nobody";
	const struct passwd *pw = account_user(name);

	if (pw == NULL) {
		complain(c, "user", EX_NOPERM, "there is no user \"%s\"", name);
		return;
	}
	if (pw->pw_uid == 0) {
		complain(c, "user", EX_NOPERM, "workers do not run as root: name another user");
		return;
	}
	pool->uid = pw->pw_uid;
	pool->gid = pw->pw_gid;
	set_text(&pool->user_name, pw->pw_name);
	set_text(&pool->home, pw->pw_dir);
	if (pool->group != NULL && account_group(pool->group, &pool->gid) != 0)
		complain(c, "group", EX_NOPERM, "there is no group \"%s\"", pool->group);
	check_groups(c, pool->user_name);
}

/* Not root: the workers are who we are, and whatever would need more is refused. */
static void check_user_as_self(const struct check *c)
{
	struct conf_pool *pool = c->pool;
	const struct passwd *pw = pool->user != NULL ? account_user(pool->user) : NULL;
	gid_t gid;

	if (pool->user != NULL && pw == NULL)
		complain(c, "user", EX_NOPERM, "there is no user \"%s\"", pool->user);
	else if (pw != NULL && pw->pw_uid != geteuid())
		complain(c, "user", EX_NOPERM,
			"only root can run workers as another user: leave out user = %s",
			pool->user);
	if (pool->group != NULL && (account_group(pool->group, &gid) != 0 || gid != getegid()))
		complain(c, "group", EX_NOPERM,
			"only root can run workers with another group: leave out group = %s",
			pool->group);
	if (pool->groups != NULL)
		complain(c, "groups", EX_NOPERM, "only root can set supplementary groups");
	if (pool->chroot != NULL)
		complain(c, "chroot", EX_NOPERM, "only root can change the root directory");
	pool->uid = geteuid();
	pool->gid = getegid();
	pw = getpwuid(pool->uid);
	set_text(&pool->user_name, pw != NULL ? pw->pw_name : "");
	set_text(&pool->home, pw != NULL ? pw->pw_dir : "/");
}

static void check_listen_owner(const struct check *c)
{
	struct conf_pool *pool = c->pool;
	const struct passwd *pw =
		pool->listen_owner != NULL ? account_user(pool->listen_owner) : NULL;

	pool->listen_uid = geteuid();
	pool->listen_gid = getegid();
	if (pool->listen_owner != NULL && pw == NULL)
		complain(c, "listen-owner", EX_NOPERM, "there is no user \"%s\"",
			pool->listen_owner);
	if (pw != NULL)
		pool->listen_uid = pw->pw_uid;
	if (pool->listen_group != NULL && account_group(pool->listen_group, &pool->listen_gid) != 0)
		complain(c, "listen-group", EX_NOPERM, "there is no group \"%s\"",
			pool->listen_group);
	if (geteuid() != 0 && pool->listen_uid != geteuid())
		complain(c, "listen-owner", EX_NOPERM,
			"only root can give a socket to another user");
	if (geteuid() != 0 && pool->listen_gid != getegid())
		complain(c, "listen-group", EX_NOPERM,
			"only root can give a socket to another group");
}

/* By the mode bits, for the pool's user: access(2) would answer for us. */
static int may_execute(const struct conf_pool *pool, const struct stat *st)
{
	if (st->st_uid == pool->uid)
		return (st->st_mode & S_IXUSR) != 0;
	for (size_t i = 0; i < pool->gid_count; i++)
		if (st->st_gid == pool->gids[i])
			return (st->st_mode & S_IXGRP) != 0;
	if (st->st_gid == pool->gid)
		return (st->st_mode & S_IXGRP) != 0;
	return (st->st_mode & S_IXOTH) != 0;
}

/* NULL when the path, seen after chroot, is a program that the pool's user may run. */
static const char *why_not_runnable(const struct conf_pool *pool, const char *path)
{
	char full[PATH_MAX];
	struct stat st;

	snprintf(full, sizeof(full), "%s%s", pool->chroot != NULL ? pool->chroot : "", path);
	if (stat(full, &st) != 0)
		return strerror(errno);
	if (!S_ISREG(st.st_mode))
		return "it is not a regular file";
	return may_execute(pool, &st) ? NULL : "the pool's user may not execute it";
}

static const char *search_path(const struct conf_pool *pool)
{
	for (char **e = pool->env; e != NULL && *e != NULL; e++)
		if (strncmp(*e, "PATH=", 5) == 0)
			return *e + 5;
	const char *path = getenv("PATH");
	return path != NULL ? path : _PATH_DEFPATH;
}

static void check_command(const struct check *c)
{
	struct conf_pool *pool = c->pool;
	const char *name = pool->argv[0], *why = NULL;
	char path[PATH_MAX];

	if (strchr(name, '/') != NULL) {
		if (name[0] != '/') /* from the command line only; the workers start elsewhere */
			why = realpath(name, path) == NULL ? strerror(errno) : NULL;
		else
			snprintf(path, sizeof(path), "%s", name);
		if (why == NULL)
			why = why_not_runnable(pool, path);
		if (why != NULL)
			complain(c, "command", EX_UNAVAILABLE, "cannot run %s: %s", name, why);
		else
			set_text(&pool->program, path);
		return;
	}
	char *list = strdup(search_path(pool)), *rest = list;
	for (const char *dir; list != NULL && (dir = strsep(&rest, ":")) != NULL;) {
		snprintf(path, sizeof(path), "%s/%s", dir, name);
		if (dir[0] == '/' && why_not_runnable(pool, path) == NULL) {
			set_text(&pool->program, path);
			break;
		}
	}
	free(list);
	if (pool->program == NULL)
		complain(c, "command", EX_UNAVAILABLE, "cannot run %s: it is not in PATH", name);
}

static void check_path(
	const struct check *c, const char *key, const char *root, const char *path, mode_t type)
{
	char full[PATH_MAX];
	struct stat st;

	snprintf(full, sizeof(full), "%s%s", root != NULL ? root : "", path);
	if (stat(full, &st) != 0)
		complain(c, key, EX_UNAVAILABLE, "cannot use %s: %s", path, strerror(errno));
	else if ((st.st_mode & S_IFMT) != type)
		complain(c, key, EX_UNAVAILABLE, "cannot use %s: it is not a %s", path,
			type == S_IFDIR ? "directory" : "regular file");
}

static void check_pool(const struct check *c)
{
	struct conf_pool *pool = c->pool;
	struct err err;

	if (geteuid() == 0)
		check_user_as_root(c);
	else
		check_user_as_self(c);
	check_listen_owner(c);
	if (pool->chroot != NULL)
		check_path(c, "chroot", NULL, pool->chroot, S_IFDIR);
	if (pool->directory != NULL)
		check_path(c, "directory", pool->chroot, pool->directory, S_IFDIR);
	if (pool->kind == CONF_COMMAND)
		check_command(c);
	if (pool->kind == CONF_MODULE)
		check_path(c, "module", pool->chroot, pool->argv[0], S_IFREG);
	if (pool->output[0] == '/' && log_file_check(pool->output, &err) != 0)
		complain(c, "output", err.code, "%s", err.text);
	if (pool->access_log != NULL && append_check(pool->access_log, APPEND_FILE, &err) != 0)
		complain(c, "access-log", err.code, "%s", err.text);
}

static void check_log(const struct conf *conf, struct err_list *errors)
{
	char where[300];
	struct err err;

	if (conf->log[0] == '/' && log_file_check(conf->log, &err) != 0)
		err_list_add(errors, err.code, "%s: log: %s",
			conf_where_main(conf, "log", where, sizeof(where)), err.text);
}

void check_conf(struct conf *conf, bool with_log, struct err_list *errors)
{
	if (with_log)
		check_log(conf, errors);
	checkgate(conf, errors);
	for (size_t i = 0; i < conf->pool_count; i++)
		check_pool(&(struct check){ .pool = conf->pools[i], .errors = errors });
}

struct conf *check_read(const struct conf_options *options, bool with_log, struct err *err)
{
	struct err_list errors = { 0 };
	struct conf *conf = conf_load(options, &errors);

	if (conf != NULL)
		check_conf(conf, with_log, &errors);
	else if (errors.count == 0)
		err_list_add(&errors, EX_OSERR, "out of memory");
	if (errors.count == 0)
		return conf;
	for (size_t i = 1; i < errors.count; i++)
		log_err("%s", errors.items[i].text);
	*err = errors.items[0];
	err_list_free(&errors);
	conf_free(conf);
	return NULL;
}
