/*
 * conf: a configuration file becomes a struct conf, or a list of every mistake in it.
 *
 * Reads files and nothing else: whether users, programs and addresses exist is for master/check.
 * One table row per key (confkey.c) says its name, type, place, range and default; parsing, -T and
 * the man page are held against that table.
 */
#ifndef PREFORKD_CONF_H
#define PREFORKD_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "common/err.h"
#include "common/units.h"

#define CONF_UNLIMITED UINT64_MAX     /* "unlimited" for a limit-* key */
#define CONF_INHERIT (UINT64_MAX - 1) /* a limit-* key left empty: what the master had */

enum conf_kind { CONF_NONE, CONF_APP, CONF_MODULE, CONF_COMMAND };

/* Where a key was given; file NULL: a default, or a command line option. */
struct conf_place {
	const char *file; /* owned by struct conf */
	unsigned line;
};

/* A number of workers, fixed where both are the same. */
struct conf_range {
	unsigned min, max;
};

#define CONF_KEYS_MAX 64
#define CONF_WORKERS_MAX 10000
#define CONF_LISTEN_MAX 64 /* addresses of one pool */
#define CONF_ALLOW_MAX 128 /* networks; the kernel bounds the memory of a socket's filter */

struct conf_pool {
	char *name;
	struct address *listen;
	size_t listen_count;
	unsigned backlog;
	char *listen_owner, *listen_group; /* NULL: as the master's own */
	unsigned listen_mode;
	struct network *allow;
	size_t allow_count;

	char *user, *group; /* NULL: nobody when started as root, else the caller */
	char **groups;      /* NULL: the user's own; else NULL-terminated */
	enum conf_kind kind;
	char **argv; /* app name, module path or program, then its arguments; NULL-terminated */
	struct conf_range workers;
	unsigned spare;
	uint64_t idle_timeout;                  /* milliseconds; never 0 */
	uint64_t max_requests;                  /* 0: no limit */
	uint64_t max_age;                       /* milliseconds; 0: no limit */
	uint64_t max_memory;                    /* bytes; 0: no limit */
	uint64_t request_timeout, slow_request; /* milliseconds; 0: none */
	uint64_t receive_timeout, send_timeout; /* milliseconds; never 0 */
	uint64_t keepalive_timeout;             /* milliseconds; 0: none */
	uint64_t max_head;                      /* bytes; never 0 */
	unsigned keepalive_max;                 /* requests on one connection; 0: no limit */
	unsigned max_connections;               /* of one worker; never 0 */
	uint64_t start_timeout, stop_timeout;   /* milliseconds; never 0 */
	int stop_signal;
	char **env;      /* "NAME=VALUE", NULL-terminated; NULL when none */
	char **pass_env; /* names, NULL-terminated; NULL when none */
	char *directory; /* NULL: "/" */
	char *chroot;    /* NULL: none */
	unsigned umask;
	int nice;
	uint64_t limit_nofile, limit_core, limit_as; /* or CONF_UNLIMITED, CONF_INHERIT */
	bool no_new_privileges;
	char *output;        /* "log", "null" or an absolute path */
	char *access_log;    /* absolute path; NULL: none */
	char *access_format; /* for logformat_compile() */

	struct conf_place place;             /* of the section's first line */
	struct conf_place at[CONF_KEYS_MAX]; /* by row of the key table */

	/* Filled by check_conf(), never by the parser; nothing changes after that. */
	uid_t uid, listen_uid;
	gid_t gid, listen_gid;
	gid_t *gids; /* owned */
	size_t gid_count;
	char *home, *user_name; /* for the environment; owned */
	char *program;          /* command: argv[0] found in PATH, as seen after chroot; owned */
};

struct conf {
	char *file;           /* as given with -c; NULL: made from options */
	char *pid_file;       /* absolute; NULL: none */
	char *log;            /* "stderr", "syslog" or an absolute path */
	int log_level;        /* LOG_ERR .. LOG_DEBUG of syslog.h */
	char *control, *http; /* an absolute path; HOST:PORT; NULL: none */
	char *control_group;  /* NULL: none */
	char *gate_user;      /* NULL: preforkd, or nobody; the caller's when he is not root */
	struct conf_place at[CONF_KEYS_MAX];
	struct conf_pool **pools; /* in the order of the file */
	size_t pool_count;
	char **files; /* every file read, NULL-terminated; places point into it */

	/* Filled by check_conf(), as in struct conf_pool. */
	uid_t gate_uid;
	gid_t gate_gid, control_gid;
};

/* What the command line says beside the file; NULL or 0 where not given. */
struct conf_options {
	const char *file;          /* -c */
	const char *pid_file;      /* -p: goes before the file's pid-file */
	const char **listen;       /* -l, NULL-terminated; NULL: none */
	struct conf_range workers; /* -n; max 0: not given */
	const char *user;          /* -u USER[:GROUP] */
	char **program;            /* after --, NULL-terminated; NULL: none */
};

/*
 * With -l or a program and no -c: no file is read, one pool "main" is made (without a program it
 * runs app counter), with no pidfile unless -p. Otherwise options.file, or the default file, is
 * read with its includes; -n and -u are then refused (they would be ambiguous), -l and a program
 * too. Returns NULL when there is any mistake; then *errors has them all, "FILE:LINE: sentence".
 */
struct conf *conf_load(const struct conf_options *options, struct err_list *errors);
void conf_free(struct conf *conf);

/* Prints the effective configuration; what it prints parses back to the same. */
void conf_print(const struct conf *conf, FILE *out);

struct conf_pool *conf_find_pool(const struct conf *conf, const char *name);

/* "FILE:LINE" where the key of a pool was given, else where its section begins, else
 * "command line". Writes into out and returns it. */
const char *conf_where(const struct conf_pool *pool, const char *key, char *out, size_t size);

/* The same for a key of [preforkd]. */
const char *conf_where_main(const struct conf *conf, const char *key, char *out, size_t size);

/* For the log at a reload: each key of [preforkd] (pool NULL) and of the pools that both have whose
 * value differs, with what its change costs: "nothing", "new workers" or "restart". */
typedef void (*conf_difference)(const char *pool, const char *key, const char *cost);
void conf_diff(const struct conf *a, const struct conf *b, conf_difference each);

#endif
