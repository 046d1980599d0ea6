/*
 * confopt: the pool "main", as users of spawn-fcgi expect it.
 *
 * Options are values of keys under another name: they go through the same checks, and the sentence
 * about a mistake begins with the option. Must never read a file.
 */
#include "common/confopt.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "common/confkey.h"
#include "common/conflist.h"
#include "common/confpool.h"

static const struct conf_place nowhere = { .file = NULL };

static void no_memory(struct conferr *mistakes)
{
	conferr_add(mistakes, nowhere, EX_OSERR, "out of memory");
}

void confopt_refuse(const struct conf_options *options, struct conferr *mistakes)
{
	static const char *const reason = "the configuration file says it for each pool";

	if (options->listen != NULL)
		conferr_add(mistakes, nowhere, EX_USAGE, "-l does not go with a file: %s", reason);
	if (options->workers.max != 0)
		conferr_add(mistakes, nowhere, EX_USAGE, "-n does not go with a file: %s", reason);
	if (options->user != NULL)
		conferr_add(mistakes, nowhere, EX_USAGE, "-u does not go with a file: %s", reason);
	if (options->program != NULL)
		conferr_add(mistakes, nowhere, EX_USAGE, "a program does not go with a file: %s",
			reason);
}

void confopt_pid_file(
	struct conf *conf, const struct conf_options *options, struct conferr *mistakes)
{
	const char *path = options->pid_file;

	if (path == NULL)
		return;
	if (path[0] != '\0' && path[0] != '/') {
		conferr_add(mistakes, nowhere, EX_USAGE, "-p %s: is not an absolute path", path);
		return;
	}
	for (const char *c = path; *c != '\0'; c++)
		if (iscntrl((unsigned char)*c)) {
			conferr_add(mistakes, nowhere, EX_USAGE,
				"-p: the path has a control character");
			return;
		}
	free(conf->pid_file);
	conf->pid_file = path[0] == '\0' ? NULL : strdup(path);
	if (path[0] != '\0' && conf->pid_file == NULL)
		no_memory(mistakes);
}

static void take_addresses(struct conf_pool *pool, const char **list, struct conferr *mistakes)
{
	size_t count = 0;
	struct err err;

	while (list != NULL && list[count] != NULL)
		count++;
	if (count == 0) {
		conferr_add(
			mistakes, nowhere, EX_USAGE, "no address to listen on: give -l ADDRESS");
		return;
	}
	pool->listen = calloc(count, sizeof(*pool->listen));
	if (pool->listen == NULL) {
		no_memory(mistakes);
		return;
	}
	for (size_t i = 0; i < count; i++)
		if (units_address(list[i], &pool->listen[pool->listen_count], &err) == 0)
			pool->listen_count++;
		else
			conferr_add(mistakes, nowhere, EX_USAGE, "-l %s: %s", list[i], err.text);
}

static void take_workers(
	struct conf_pool *pool, struct conf_range workers, struct conferr *mistakes)
{
	if (workers.max > CONF_WORKERS_MAX || workers.min > workers.max)
		conferr_add(mistakes, nowhere, EX_USAGE, "-n %u..%u: is out of range: 0 to %d",
			workers.min, workers.max, CONF_WORKERS_MAX);
	else if (workers.max != 0)
		pool->workers = workers;
}

/* USER or USER:GROUP */
static void take_user(struct conf_pool *pool, const char *text, struct conferr *mistakes)
{
	const char *colon = strchrnul(text, ':');
	struct err err;

	pool->user = strndup(text, (size_t)(colon - text));
	if (*colon == ':')
		pool->group = strdup(colon + 1);
	if (pool->user == NULL || (*colon == ':' && pool->group == NULL))
		no_memory(mistakes);
	else if (conflist_check_name(pool->user, &err) != 0 ||
		 (pool->group != NULL && conflist_check_name(pool->group, &err) != 0))
		conferr_add(mistakes, nowhere, EX_USAGE, "-u %s: %s", text, err.text);
}

static void take_program(struct conf_pool *pool, char **program, struct conferr *mistakes)
{
	static char counter[] = "counter", *app[] = { counter, NULL };
	char **from = program != NULL ? program : app;
	size_t count = 0;

	while (from[count] != NULL)
		count++;
	pool->kind = program != NULL ? CONF_COMMAND : CONF_APP;
	pool->argv = calloc(count + 1, sizeof(char *));
	for (size_t i = 0; i < count && pool->argv != NULL; i++)
		if ((pool->argv[i] = strdup(from[i])) == NULL)
			break;
	if (pool->argv == NULL || (count > 0 && pool->argv[count - 1] == NULL))
		no_memory(mistakes);
	else if (count == 0 || from[0][0] == '\0')
		conferr_add(mistakes, nowhere, EX_USAGE, "the program has no name");
}

static void take_pool(
	struct conf *conf, const struct conf_options *options, struct conferr *mistakes)
{
	struct conf_pool *pool = confpool_new("main", nowhere);
	struct err err;

	if (pool == NULL || confpool_append(conf, pool) != 0) {
		confpool_free(pool);
		no_memory(mistakes);
		return;
	}
	if (confkey_defaults(CONFKEY_POOL, pool->at, pool, &err) != 0)
		conferr_add(mistakes, nowhere, err.code, "%s", err.text);
	take_addresses(pool, options->listen, mistakes);
	take_workers(pool, options->workers, mistakes);
	if (options->user != NULL)
		take_user(pool, options->user, mistakes);
	take_program(pool, options->program, mistakes);
}

void confopt_load(struct conf *conf, const struct conf_options *options, struct conferr *mistakes)
{
	struct err err;

	if (confkey_defaults(CONFKEY_MAIN, conf->at, conf, &err) != 0)
		conferr_add(mistakes, nowhere, err.code, "%s", err.text);
	/* No file says otherwise: no pidfile but with -p, and the log is the system's. */
	free(conf->pid_file);
	free(conf->log);
	conf->pid_file = NULL;
	conf->log = strdup("syslog");
	if (conf->log == NULL)
		no_memory(mistakes);
	take_pool(conf, options, mistakes);
}
