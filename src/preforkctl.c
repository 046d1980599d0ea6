/*
 * preforkctl: the client. Reads its arguments, asks the gate over the control socket, and decides
 * the exit code: 0 only when what was asked has happened.
 */
#include <getopt.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "common/err.h"
#include "common/units.h"
#include "ctl/answer.h"
#include "ctl/command.h"
#include "ctl/figures.h"
#include "ctl/print.h"
#include "ctl/summary.h"
#include "ctl/top.h"
#include "ctl/wire.h"

#ifndef RUNSTATEDIR /* from the Makefile */
#define RUNSTATEDIR "/run"
#endif

#define SOCKET RUNSTATEDIR "/preforkd/control.sock"
#define LOOK_TIMEOUT 10000 /* ms, for what only looks; a command takes as long as it takes */
#define WORKERS_MAX 10000
#define EXIT_SICK 150 /* LSB: of the codes for the application's own use with "status" */

struct request {
	const char *socket;
	bool json, workers;
	bool limited; /* -t was given */
	uint64_t timeout;
	const char *target; /* of a command */
};

static void __attribute__((noreturn)) usage(const char *complaint)
{
	if (complaint != NULL)
		fprintf(stderr, "preforkctl: %s\n", complaint);
	fprintf(stderr, "usage: preforkctl [-s SOCKET] [-t SECONDS] [--json] COMMAND\n"
			"       status [-v] | top | ping\n"
			"       reload [POOL] | scale POOL N | drain POOL | undrain POOL\n"
			"       reopen | upgrade | stop\n");
	exit(EX_USAGE);
}

static long timeout_of(const struct request *request, long otherwise)
{
	return request->limited ? (long)request->timeout : otherwise;
}

/* Says how it went, and returns the exit code. */
static int tell(const struct request *request, const char *verb, const struct answer *answer)
{
	if (request->json && answer_print(answer, stdout) != 0)
		return EXIT_FAILURE;
	if (answer->code != EXIT_SUCCESS)
		fprintf(stderr, "preforkctl: %s: %s\n", verb, answer->text);
	else if (!request->json)
		puts(answer->text);
	return answer->code;
}

/* 0 with *figures and, for --json, *reply; or the exit code after the reason has been told. */
static int look(struct wire *wire, const struct request *request, const char *verb,
	struct wire_reply *reply, struct figures **figures)
{
	struct answer answer;
	struct err err;

	if (wire_ask(wire, WIRE_GET, "/status", timeout_of(request, LOOK_TIMEOUT), reply, &err) !=
		0) {
		answer_fail(&err, &answer);
		return tell(request, verb, &answer);
	}
	if (reply->status == 200)
		*figures = figures_read(reply->body, reply->length, &err);
	if (*figures != NULL)
		return 0;
	if (reply->status == 200)
		answer_fail(&err, &answer);
	else
		answer_read(reply, &answer);
	wire_reply_free(reply);
	return tell(request, verb, &answer);
}

static int run_status(struct wire *wire, const struct request *request)
{
	struct wire_reply reply = { 0 };
	struct figures *figures = NULL;
	int code = look(wire, request, "status", &reply, &figures);

	if (figures == NULL)
		return code;
	code = figures_healthy(figures) ? EXIT_SUCCESS : EXIT_SICK;
	if (!request->json)
		summary_print(figures, request->workers, print_colours(stdout), stdout);
	else if (answer_print_json(&reply, stdout) != 0)
		code = EXIT_FAILURE;
	figures_free(figures);
	wire_reply_free(&reply);
	return code;
}

static int run_ping(struct wire *wire, const struct request *request)
{
	struct wire_reply reply = { 0 };
	struct figures *figures = NULL;
	struct answer answer = { 0 };
	char pid[PRINT_WIDTH];
	int code = look(wire, request, "ping", &reply, &figures);

	if (figures == NULL)
		return code;
	snprintf(answer.text, sizeof(answer.text), "preforkd %s answers, pid %s, %s",
		figures->version, print_number(figures->pid, pid), figures->state);
	figures_free(figures);
	wire_reply_free(&reply);
	return tell(request, "ping", &answer);
}

static int run_top(struct wire *wire, const struct request *request)
{
	struct answer answer;
	struct err err;

	if (request->json)
		usage("top has no --json; status has");
	if (top_run(wire, timeout_of(request, LOOK_TIMEOUT), &err) == 0)
		return EXIT_SUCCESS;
	answer_fail(&err, &answer);
	return tell(request, "top", &answer);
}

static int run_stop(struct wire *wire, const struct request *request)
{
	struct answer answer = { 0 };

	command_stop(wire, timeout_of(request, 0), &answer);
	return tell(request, "stop", &answer);
}

static int run_command(struct wire *wire, const struct request *request)
{
	struct answer answer = { 0 };
	const char *verb = strrchr(request->target, '/') + 1;
	char word[16];

	command_run(wire, request->target, timeout_of(request, 0), &answer);
	snprintf(word, sizeof(word), "%.*s", (int)strcspn(verb, "?"), verb);
	return tell(request, word, &answer);
}

enum arguments { NONE, MAYBE_POOL, POOL, POOL_NUMBER };

static const struct verb {
	const char *name;
	enum arguments arguments;
	int (*run)(struct wire *wire, const struct request *request);
} verbs[] = {
	{ "status", NONE, run_status },
	{ "top", NONE, run_top },
	{ "ping", NONE, run_ping },
	{ "reload", MAYBE_POOL, run_command },
	{ "scale", POOL_NUMBER, run_command },
	{ "drain", POOL, run_command },
	{ "undrain", POOL, run_command },
	{ "reopen", NONE, run_command },
	{ "upgrade", NONE, run_command },
	{ "stop", NONE, run_stop },
};

static const struct verb *find_verb(const char *name)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (strcmp(verbs[i].name, name) == 0)
			return &verbs[i];
	fprintf(stderr, "preforkctl: there is no command %s\n", name);
	usage(NULL);
}

static unsigned parse_number(const char *text)
{
	uint64_t number;
	struct err err;

	if (units_number(text, 0, WORKERS_MAX, &number, &err) == 0)
		return (unsigned)number;
	fprintf(stderr, "preforkctl: scale: %s\n", err.text);
	exit(EX_USAGE);
}

/* Checks how many there are, and returns what is asked of the gate; owned by the caller. */
static char *target_of(const struct verb *verb, int count, char **arguments)
{
	static const int least[] = { [NONE] = 0, [MAYBE_POOL] = 0, [POOL] = 1, [POOL_NUMBER] = 2 };
	static const int most[] = { [NONE] = 0, [MAYBE_POOL] = 1, [POOL] = 1, [POOL_NUMBER] = 2 };
	char *target = NULL, *pool = NULL;
	int rc;

	if (count < least[verb->arguments])
		usage(verb->arguments == POOL_NUMBER && count == 1 ? "how many workers?"
								   : "which pool?");
	if (count > most[verb->arguments])
		usage("too many arguments");
	if (count > 0 && (pool = wire_quote(arguments[0])) == NULL)
		return NULL;
	if (count == 0)
		rc = asprintf(&target, "/%s", verb->name);
	else if (count == 1)
		rc = asprintf(&target, "/pools/%s/%s", pool, verb->name);
	else
		rc = asprintf(&target, "/pools/%s/%s?workers=%u", pool, verb->name,
			parse_number(arguments[1]));
	free(pool);
	return rc < 0 ? NULL : target;
}

static void parse_timeout(const char *text, struct request *request)
{
	struct err err;

	request->limited = units_duration(text, &request->timeout, &err) == 0;
	if (request->limited && request->timeout > INT_MAX) {
		request->limited = false;
		err_set(&err, EX_USAGE, "nobody waits for so long");
	}
	if (request->limited)
		return;
	fprintf(stderr, "preforkctl: -t %s: %s\n", text, err.text);
	exit(EX_USAGE);
}

static void parse_options(int argc, char **argv, struct request *request)
{
	static const struct option longs[] = { { "json", no_argument, NULL, 'j' }, { 0 } };
	int opt;

	while ((opt = getopt_long(argc, argv, "s:t:v", longs, NULL)) != -1) {
		switch (opt) {
		case 's':
			request->socket = optarg;
			break;
		case 't':
			parse_timeout(optarg, request);
			break;
		case 'v':
			request->workers = true;
			break;
		case 'j':
			request->json = true;
			break;
		default:
			usage(NULL);
		}
	}
	if (optind == argc)
		usage("a command is missing");
}

int main(int argc, char **argv)
{
	struct request request = { .socket = SOCKET };
	struct err err;

	parse_options(argc, argv, &request);
	const struct verb *verb = find_verb(argv[optind]);
	if (request.workers && verb->run != run_status)
		usage("-v is for status");
	char *target = target_of(verb, argc - optind - 1, argv + optind + 1);
	struct wire *wire = wire_open(request.socket, &err);
	if (target == NULL || wire == NULL) {
		fprintf(stderr, "preforkctl: %s\n", target == NULL ? "out of memory" : err.text);
		free(target);
		return target == NULL ? EXIT_FAILURE : err.code;
	}
	request.target = target;
	int code = verb->run(wire, &request);
	wire_close(wire);
	free(target);
	if (fflush(stdout) != 0 && code == EXIT_SUCCESS) {
		fprintf(stderr, "preforkctl: cannot write to stdout\n");
		code = EXIT_FAILURE;
	}
	return code;
}
