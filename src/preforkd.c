/*
 * preforkd: the command. Reads the options, checks everything, and hands over to the master; wires
 * the worker's body to the master, which knows no worker. Decides exit codes, and nothing else.
 */
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
#include "common/log.h"
#include "common/title.h"
#include "common/units.h"
#include "common/version.h"
#include "gate/gate.h"
#include "master/check.h"
#include "master/daemon.h"
#include "master/door.h"
#include "master/listen.h"
#include "master/master.h"
#include "master/notify.h"
#include "master/origin.h"
#include "master/state.h"
#include "master/upgrade.h"
#include "worker/worker.h"

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
	door_check(conf, holder > 0 ? (int)holder : 0, &errors);
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

static struct master_start start_of(
	const struct command *command, const struct origin *origin, struct listen_set *listeners)
{
	return (struct master_start){ .origin = origin,
		.options = &command->options,
		.listeners = listeners,
		.foreground = command->foreground,
		.body = worker_main,
		.gate = gate_main,
		.version = VERSION };
}

static int start(struct master_start *begin, struct conf *conf)
{
	struct err err = { 0 };

	begin->conf = conf;
	if (conf->pid_file != NULL) {
		begin->pidfile = daemon_lock(conf->pid_file, &begin->unclean, &err);
		if (begin->pidfile == NULL) {
			fprintf(stderr, "preforkd: %s\n", err.text);
			return err.code;
		}
	}
	notify_init();
	return master_main(begin);
}

/* As -t, asked by a master that wants to become us: the addresses are free, because we hold them.
 * Nothing is freed here, which would remove what the master still needs. */
static int rehearse(const struct master_start *begin, struct state_in *state)
{
	struct err_list errors = { 0 };
	struct err err;
	struct conf *conf = conf_load(begin->options, &errors);

	if (conf != NULL)
		check_conf(conf, !begin->foreground, &errors);
	if (master_rehearse(begin, state, &err) != 0)
		err_list_add(&errors, err.code, "%s", err.text);
	else if (conf != NULL)
		listen_check(begin->listeners, conf, 0, &errors);
	if (errors.count == 0)
		upgrade_consent(stdout);
	if (fflush(stdout) != 0)
		err_list_add(&errors, EX_OSERR, "cannot answer");
	return complain(&errors);
}

/* 0: all is done, with the exit code in *code. */
static int succeed(const struct command *command, const struct origin *origin,
	struct state_in *state, int *code, struct err *err)
{
	struct listen_set *listeners = listen_new();
	struct master_start begin = start_of(command, origin, listeners);

	if (listeners == NULL)
		return err_set(err, EX_OSERR, "out of memory");
	if (command->test) {
		*code = rehearse(&begin, state);
		return 0;
	}
	notify_init();
	return master_resume(&begin, state, code, err);
}

/* The state that a master has left to us, its next image; NULL: none. *lost: why it cannot be used.
 */
static struct state_in *inherit(struct origin *origin, struct err *lost)
{
	int fd = upgrade_inherited();
	struct state_in *state = fd < 0 ? NULL : state_open(fd, lost);

	if (state != NULL && origin_restore(origin, state, lost) != 0)
		return NULL;
	return state;
}

/* Said at once, in case that there is no start either; a daemon's stderr is closed. */
static void start_anew(const struct command *command, const struct err *lost)
{
	if (!command->foreground)
		log_open("syslog", LOG_NOTICE, NULL);
	log_err("the new program cannot take over, all starts anew: %s", lost->text);
	daemon_abandon();
}

int main(int argc, char **argv)
{
	static struct command command;
	static struct origin origin;
	struct err_list errors = { 0 };
	struct err err, lost = { 0 };
	int code;

	daemon_fill_standard();
	setvbuf(stdout, NULL, _IOLBF, 0); /* that of workers, which inherit it, is a pipe */
	signal(SIGXFSZ, SIG_IGN); /* a log at its limit must not end us: a write then fails */
	if (origin_remember(&origin, argv, environ) != 0)
		return EX_OSERR;
	struct state_in *state = inherit(&origin, &lost);
	title_init(argc, argv, environ);
	parse_options(argc, argv, &command);
	command.options.file = origin_absolute(&origin, command.options.file);
	command.options.pid_file = origin_absolute(&origin, command.options.pid_file);
	umask(022);
	if (state != NULL && succeed(&command, &origin, state, &code, &lost) == 0)
		return code;
	if (lost.code != 0 && command.test) {
		fprintf(stderr, "preforkd: %s\n", lost.text);
		return lost.code;
	}
	if (lost.code != 0)
		start_anew(&command, &lost);

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
	struct master_start begin = start_of(&command, &origin, listeners);
	begin.lost = lost.code != 0 ? lost.text : NULL;
	return command.test || command.print ? test(&command, conf, listeners)
					     : start(&begin, conf);
}
