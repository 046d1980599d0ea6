/*
 * preforkd: the command. Reads the options, checks everything, and hands over to the master; wires
 * the worker's body to the master, which knows no worker. Decides exit codes, and nothing else.
 */
#include <bsd/unistd.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/conf.h"
#include "common/err.h"
#include "common/units.h"
#include "master/check.h"
#include "master/daemon.h"
#include "master/listen.h"
#include "master/master.h"
#include "master/notify.h"
#include "worker/worker.h"

#define VERSION "0.1.0"

struct command {
	struct conf_options options;
	bool foreground, test, print;
};

static void __attribute__((noreturn)) usage(const char *complaint)
{
	if (complaint != NULL)
		fprintf(stderr, "preforkd: %s\n", complaint);
	fprintf(stderr,
		"usage: preforkd [-FtTV] [-c FILE] [-p PIDFILE] [-l ADDRESS]... [-n WORKERS]\n"
		"                [-u USER[:GROUP]] [-- PROGRAM [ARG]...]\n");
	exit(EX_USAGE);
}

static void add_address(struct conf_options *options, const char *address, int most)
{
	size_t n = 0;

	if (options->listen == NULL)
		options->listen = calloc((size_t)most + 1, sizeof(char *));
	if (options->listen == NULL)
		exit(EX_OSERR);
	while (options->listen[n] != NULL)
		n++;
	options->listen[n] = address;
}

static struct conf_range parse_workers(const char *text)
{
	struct conf_range range;
	struct err err;

	if (units_range(text, 0, CONF_WORKERS_MAX, &range.min, &range.max, &err) == 0)
		return range;
	fprintf(stderr, "preforkd: -n %s: %s\n", text, err.text);
	exit(EX_USAGE);
}

static void parse_options(int argc, char **argv, struct command *command)
{
	int opt;

	while ((opt = getopt(argc, argv, "+FtTVc:p:l:n:u:")) != -1) {
		switch (opt) {
		case 'F':
			command->foreground = true;
			break;
		case 't':
			command->test = true;
			break;
		case 'T':
			command->print = true;
			break;
		case 'V':
			printf("preforkd %s\n", VERSION);
			exit(EXIT_SUCCESS);
		case 'c':
			command->options.file = optarg;
			break;
		case 'p':
			command->options.pid_file = optarg;
			break;
		case 'l':
			add_address(&command->options, optarg, argc);
			break;
		case 'n':
			command->options.workers = parse_workers(optarg);
			break;
		case 'u':
			command->options.user = optarg;
			break;
		default:
			usage(NULL);
		}
	}
	if (optind < argc && strcmp(argv[optind - 1], "--") != 0)
		usage("a program to run stands behind --");
	if (optind == argc && strcmp(argv[argc - 1], "--") == 0)
		usage("no program stands behind --");
	if (optind < argc)
		command->options.program = &argv[optind];
}

/* A daemon leaves the directory it was started in: what it reads again must not depend on it. */
static char *absolute(const char *path)
{
	char *cwd, *full;

	if (path == NULL)
		return NULL;
	if (path[0] == '/' || path[0] == '\0')
		return strdup(path);
	cwd = getcwd(NULL, 0);
	if (cwd == NULL || asprintf(&full, "%s/%s", cwd, path) < 0)
		full = strdup(path);
	free(cwd);
	return full;
}

static int complain(struct err_list *errors)
{
	int code = err_list_code(errors);

	for (size_t i = 0; i < errors->count; i++)
		fprintf(stderr, "preforkd: %s\n", errors->items[i].text);
	err_list_free(errors);
	return code;
}

/* -t and -T: everything a start checks, short of starting. */
static int test(const struct command *command, struct conf *conf, struct listen_set *listeners)
{
	struct err_list errors = { 0 };
	struct err err;
	pid_t holder = 0;

	if (conf->pid_file != NULL && (holder = daemon_holder(conf->pid_file, &err)) < 0)
		err_list_add(&errors, err.code, "%s", err.text);
	listen_check(listeners, conf, holder > 0 ? (int)holder : 0, &errors);
	if (command->print)
		conf_print(conf, stdout);
	else if (errors.count == 0)
		fprintf(stderr, "preforkd: %s is fine\n",
			conf->file != NULL ? conf->file : "the command line");
	if (fflush(stdout) != 0)
		err_list_add(&errors, EX_OSERR, "cannot write the configuration to stdout");
	conf_free(conf);
	listen_free(listeners);
	return complain(&errors);
}

static int start(const struct command *command, struct conf *conf, struct listen_set *listeners)
{
	struct err err = { 0 };
	struct master_start begin = { .options = &command->options,
		.conf = conf,
		.listeners = listeners,
		.foreground = command->foreground,
		.body = worker_main };

	if (conf->pid_file != NULL) {
		begin.pidfile = daemon_lock(conf->pid_file, &begin.unclean, &err);
		if (begin.pidfile == NULL) {
			fprintf(stderr, "preforkd: %s\n", err.text);
			return err.code;
		}
	}
	notify_init();
	return master_main(&begin);
}

int main(int argc, char **argv)
{
	static struct command command;
	struct err_list errors = { 0 };
	struct err err;

	daemon_fill_standard();
	signal(SIGXFSZ, SIG_IGN); /* a log at its limit must not end us: a write then fails */
	setproctitle_init(argc, argv, environ);
	parse_options(argc, argv, &command);
	command.options.file = absolute(command.options.file);
	command.options.pid_file = absolute(command.options.pid_file);

	struct listen_set *listeners = listen_new();
	if (listeners == NULL || listen_adopt(listeners, &err) != 0) {
		fprintf(stderr, "preforkd: %s\n", listeners == NULL ? "out of memory" : err.text);
		return listeners == NULL ? EX_OSERR : err.code;
	}
	struct conf *conf = conf_load(&command.options, &errors);
	if (conf != NULL)
		check_conf(conf, !command.foreground, &errors);
	if (conf == NULL || errors.count > 0)
		return complain(&errors);
	umask(022);
	return command.test || command.print ? test(&command, conf, listeners)
					     : start(&command, conf, listeners);
}
