/*
 * confkey: one row for each key of the configuration.
 *
 * A new key is a row here, a field in struct conf or conf_pool, and a paragraph in
 * preforkd.conf(5). The default is text that goes through the same reader as the file. Must never
 * hold what several keys mean together: that is for confcheck.
 */
#include "common/confkey.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "common/conf.h"
#include "common/confword.h"

#define DAY_MS 86400000
#define AGE_MAX 8640000000 /* 100 days */
#define REQUESTS_MAX 1000000000
#define KEEPALIVE_MOST 1000000000
#define HEAD_MIN (1 << 10)
#define HEAD_MAX (16 << 20)
#define NOFILE_MIN 32        /* a worker inside preforkd needs about that to start */
#define NOFILE_MAX (1 << 30) /* far beyond fs.nr_open */

#define MAIN(field) offsetof(struct conf, field)
#define POOL(field) offsetof(struct conf_pool, field)
#define VALUE(kind, ...)                            \
	{                                           \
		.type = CONFVAL_##kind, __VA_ARGS__ \
	}

static const char *const sinks[] = { "syslog", "stderr", NULL };
static const char *const levels[] = { "err", "warning", "notice", "info", "debug", NULL };
static const char *const outputs[] = { "log", "null", NULL };
static const char *const apps[] = { "counter", NULL };

static const char nothing[] = "nothing", workers[] = "new workers", restart[] = "restart";

/* clang-format off */
static const struct confkey keys[] = {
	{ CONFKEY_MAIN, "pid-file", VALUE(PATH, MAIN(pid_file)),
		"/run/preforkd/preforkd.pid", restart,
		"file that holds the master's process id, and its lock; empty: none" },
	{ CONFKEY_MAIN, "log", VALUE(SINK, MAIN(log), .choices = sinks),
		"/var/log/preforkd/preforkd.log", nothing,
		"where the log goes: a path, syslog or stderr" },
	{ CONFKEY_MAIN, "log-level", VALUE(CHOICE, MAIN(log_level), LOG_ERR, LOG_DEBUG, levels),
		"notice", nothing,
		"the least important messages that are logged" },
	{ CONFKEY_MAIN, "control", VALUE(ENDPOINT, MAIN(control), ADDRESS_UNIX),
		"", restart,
		"unix socket for status and commands; empty: none" },
	{ CONFKEY_MAIN, "control-group", VALUE(NAME, MAIN(control_group)),
		"", restart,
		"group whose members may use the control socket, beside root" },
	{ CONFKEY_MAIN, "http", VALUE(ENDPOINT, MAIN(http), ADDRESS_TCP),
		"", restart,
		"HOST:PORT where the status can be read by HTTP; empty: none" },
	{ CONFKEY_MAIN, "gate-user", VALUE(NAME, MAIN(gate_user)),
		"", restart,
		"user of the process that speaks HTTP; empty: preforkd or nobody" },
	{ CONFKEY_MAIN, "include", VALUE(PATTERN, 0),
		"", nothing,
		"pattern of further files with [pool NAME] sections" },

	{ CONFKEY_POOL, "listen", VALUE(ADDRESSES, 0),
		NULL, workers,
		"addresses: HOST:PORT, *:PORT, a path, @NAME or fd:NAME" },
	{ CONFKEY_POOL, "listen-backlog", VALUE(UNSIGNED, POOL(backlog), 1, 65535),
		"4096", nothing,
		"connections that may wait for a worker" },
	{ CONFKEY_POOL, "listen-owner", VALUE(NAME, POOL(listen_owner)),
		"", restart,
		"owner of unix sockets; empty: who starts preforkd" },
	{ CONFKEY_POOL, "listen-group", VALUE(NAME, POOL(listen_group)),
		"", restart,
		"group of unix sockets; empty: that of who starts preforkd" },
	{ CONFKEY_POOL, "listen-mode", VALUE(MODE, POOL(listen_mode), .max = 0777),
		"0660", restart,
		"mode of unix sockets" },
	{ CONFKEY_POOL, "allow", VALUE(NETWORKS, 0),
		"", restart,
		"networks from which TCP peers may connect; empty: all" },
	{ CONFKEY_POOL, "user", VALUE(NAME, POOL(user)),
		"", workers,
		"user that the workers run as; empty: nobody when started as root" },
	{ CONFKEY_POOL, "group", VALUE(NAME, POOL(group)),
		"", workers,
		"group of the workers; empty: the user's" },
	{ CONFKEY_POOL, "groups", VALUE(NAMES, POOL(groups)),
		"", workers,
		"supplementary groups; empty: the user's" },
	{ CONFKEY_POOL, "app", VALUE(PROGRAM, 0, .min = CONF_APP, .choices = apps),
		"", workers,
		"built-in application that the workers run" },
	{ CONFKEY_POOL, "module", VALUE(PROGRAM, 0, .min = CONF_MODULE),
		"", workers,
		"shared object with the application, and its arguments" },
	{ CONFKEY_POOL, "command", VALUE(PROGRAM, 0, .min = CONF_COMMAND),
		"", workers,
		"FastCGI program, and its arguments" },
	{ CONFKEY_POOL, "workers", VALUE(RANGE, POOL(workers), 0, CONF_WORKERS_MAX),
		"4", workers,
		"how many workers there are: N, or MIN..MAX to follow the load" },
	{ CONFKEY_POOL, "spare", VALUE(UNSIGNED, POOL(spare), 1, CONF_WORKERS_MAX),
		"1", workers,
		"idle workers kept ready between MIN and MAX" },
	{ CONFKEY_POOL, "idle-timeout", VALUE(DURATION, POOL(idle_timeout), 100, DAY_MS),
		"10s", workers,
		"how long workers above MIN may be idle" },
	{ CONFKEY_POOL, "max-requests", VALUE(NUMBER, POOL(max_requests), 0, REQUESTS_MAX),
		"0", workers,
		"requests after which a worker is replaced; 0: never" },
	{ CONFKEY_POOL, "max-age", VALUE(DURATION, POOL(max_age), 0, AGE_MAX),
		"0", workers,
		"time after which a worker is replaced; 0: never" },
	{ CONFKEY_POOL, "max-memory", VALUE(BYTES, POOL(max_memory)),
		"0", workers,
		"resident size at which a worker is replaced; 0: none" },
	{ CONFKEY_POOL, "request-timeout", VALUE(DURATION, POOL(request_timeout), 0, DAY_MS),
		"0", workers,
		"time after which a worker is killed with the request it has; 0: never" },
	{ CONFKEY_POOL, "slow-request", VALUE(DURATION, POOL(slow_request), 0, DAY_MS),
		"0", workers,
		"time after which a running request is logged; 0: never" },
	{ CONFKEY_POOL, "receive-timeout", VALUE(DURATION, POOL(receive_timeout), 1, DAY_MS),
		"60s", workers,
		"how long the parameters may take, and a pause in the body" },
	{ CONFKEY_POOL, "send-timeout", VALUE(DURATION, POOL(send_timeout), 1, DAY_MS),
		"60s", workers,
		"how long a client may take nothing of its answer" },
	{ CONFKEY_POOL, "keepalive-timeout", VALUE(DURATION, POOL(keepalive_timeout), 0, DAY_MS),
		"75s", workers,
		"how long a connection stays open without a request; 0: for ever" },
	{ CONFKEY_POOL, "keepalive-max", VALUE(UNSIGNED, POOL(keepalive_max), 0, KEEPALIVE_MOST),
		"0", workers,
		"requests on a connection until it is closed; 0: no limit" },
	{ CONFKEY_POOL, "max-head", VALUE(BYTES, POOL(max_head), HEAD_MIN, HEAD_MAX),
		"64K", workers,
		"size of the parameters of one request" },
	{ CONFKEY_POOL, "max-connections", VALUE(UNSIGNED, POOL(max_connections), 1, 65535),
		"256", workers,
		"connections that a worker holds beside the one it serves" },
	{ CONFKEY_POOL, "start-timeout", VALUE(DURATION, POOL(start_timeout), 1, DAY_MS),
		"30s", workers,
		"how long a worker may take until it is ready" },
	{ CONFKEY_POOL, "stop-timeout", VALUE(DURATION, POOL(stop_timeout), 1, DAY_MS),
		"30s", workers,
		"how long a worker that is told to stop may take" },
	{ CONFKEY_POOL, "stop-signal", VALUE(SIGNAL, POOL(stop_signal)),
		"TERM", workers,
		"signal that tells a command to stop" },
	{ CONFKEY_POOL, "env.NAME", VALUE(ENV, 0),
		NULL, workers,
		"variable for the workers' environment" },
	{ CONFKEY_POOL, "pass-env", VALUE(VARIABLES, POOL(pass_env)),
		"", workers,
		"variables of the master's environment that the workers get" },
	{ CONFKEY_POOL, "directory", VALUE(PATH, POOL(directory)),
		"", workers,
		"working directory, seen after chroot; empty: /" },
	{ CONFKEY_POOL, "chroot", VALUE(PATH, POOL(chroot)),
		"", workers,
		"root directory of the workers; empty: the system's" },
	{ CONFKEY_POOL, "umask", VALUE(MODE, POOL(umask), .max = 0777),
		"022", workers,
		"mode bits that files of the workers do not get" },
	{ CONFKEY_POOL, "nice", VALUE(INT, POOL(nice), -20, 19),
		"0", workers,
		"scheduling priority of the workers" },
	{ CONFKEY_POOL, "limit-nofile", VALUE(LIMIT, POOL(limit_nofile), NOFILE_MIN, NOFILE_MAX),
		"", workers,
		"open descriptors of one worker; empty: as preforkd was started" },
	{ CONFKEY_POOL, "limit-core", VALUE(SIZE, POOL(limit_core)),
		"0", workers,
		"size of a core file; empty: as preforkd was started" },
	{ CONFKEY_POOL, "limit-as", VALUE(SIZE, POOL(limit_as)),
		"", workers,
		"address space of one worker; empty: as preforkd was started" },
	{ CONFKEY_POOL, "no-new-privileges", VALUE(BOOL, POOL(no_new_privileges)),
		"yes", workers,
		"workers gain nothing from set-user-id programs" },
	{ CONFKEY_POOL, "output", VALUE(SINK, POOL(output), .choices = outputs),
		"log", workers,
		"where the workers' stdout and stderr go: log, a path or null" },
	{ CONFKEY_POOL, "access-log", VALUE(PATH, POOL(access_log)),
		"", workers,
		"file with a line for each request; empty: none" },
	{ CONFKEY_POOL, "access-format", VALUE(FORMAT, POOL(access_format)),
		"combined", workers,
		"what is in such a line: common, combined, json, or text with %{FIELD}" },
};
/* clang-format on */

#define KEY_COUNT (sizeof(keys) / sizeof(keys[0]))
static_assert(KEY_COUNT <= CONF_KEYS_MAX, "a place for every key");

const struct confkey *confkey_at(size_t row)
{
	return row < KEY_COUNT ? &keys[row] : NULL;
}

size_t confkey_row(const struct confkey *key)
{
	return (size_t)(key - keys);
}

const struct confkey *confkey_find(enum confkey_section section, const char *name)
{
	if (strncmp(name, "env.", 4) == 0)
		name = "env.NAME";
	for (size_t i = 0; i < KEY_COUNT; i++)
		if (keys[i].section == section && strcmp(keys[i].name, name) == 0)
			return &keys[i];
	return NULL;
}

const char *confkey_near(enum confkey_section section, const char *name)
{
	const char *names[KEY_COUNT + 1] = { NULL };
	size_t n = 0;

	for (size_t i = 0; i < KEY_COUNT; i++)
		if (keys[i].section == section)
			names[n++] = keys[i].name;
	return confword_near(name, names);
}

int confkey_defaults(
	enum confkey_section section, const struct conf_place *at, void *base, struct err *err)
{
	for (size_t i = 0; i < KEY_COUNT; i++) {
		const struct confkey *key = &keys[i];

		if (key->section != section || key->text == NULL || at[i].line != 0)
			continue;
		if (confval_set(&key->value, key->name, key->text, base, err) != 0)
			return -1;
	}
	return 0;
}

bool confkey_same(const struct confkey *key, const void *a, const void *b)
{
	const void *sides[2] = { a, b };
	char *texts[2] = { NULL, NULL };
	size_t size;
	bool same;

	for (int i = 0; i < 2; i++) {
		FILE *out = open_memstream(&texts[i], &size);

		if (out == NULL)
			break;
		confval_print(&key->value, key->name, sides[i], out);
		fclose(out);
	}
	same = texts[0] != NULL && texts[1] != NULL && strcmp(texts[0], texts[1]) == 0;
	free(texts[0]);
	free(texts[1]);
	return same;
}
