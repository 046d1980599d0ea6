/* A module for tests: answers with the body it got, byte for byte. Parameters: SLEEP_MS waits
 * between reading and answering, UNTIL waits there for a file to appear, NOREAD leaves the body
 * unread, HEAD is a line of the answer's head, LEAK keeps a megabyte, CRASH aborts, PRINT goes to
 * stderr, SHARED counts in cell 1 of the pool's memory, PID asks for X-Pid, FORK has a child end
 * meanwhile, MORE_PROCESSES lifts the limit of processes; X-Error tells of a body that was cut.
 * Arguments: "fail" makes start fail. */
#include <preforkd_app.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "until.h"

static const struct preforkd_app_env *env;

static int start(const struct preforkd_app_env *given)
{
	env = given;
	if (env->argc > 1 && strcmp(env->argv[1], "fail") == 0) {
		fprintf(stderr, "this module was told to fail\n");
		return 3;
	}
	return 0;
}

static char *read_body(FCGX_Request *request, size_t *size)
{
	char *body = NULL;
	size_t room = 0;
	int n;

	do {
		room += 65536;
		body = realloc(body, room);
		if (body == NULL)
			abort();
		n = FCGX_GetStr(body + *size, (int)(room - *size), request->in);
		*size += (size_t)n;
	} while (*size == room);
	return body;
}

static void have_a_child(void)
{
	pid_t child = fork();

	if (child == 0) {
		free(malloc(100000));
		_exit(0);
	}
	if (child > 0)
		waitpid(child, NULL, 0);
}

static void lift_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NPROC, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NPROC, &limit);
	}
}

/* Each one knows the one before it: nothing is lost to an analyzer, and nothing is freed. */
static void keep_a_megabyte(void)
{
	static void **last;
	void **block = malloc(1 << 20);

	if (block == NULL)
		return;
	memset(block, 1, 1 << 20);
	*block = last;
	last = block;
}

static int handle(FCGX_Request *request)
{
	const char *ms = FCGX_GetParam("SLEEP_MS", request->envp);
	const char *print = FCGX_GetParam("PRINT", request->envp);
	size_t size = 0;
	char *body = FCGX_GetParam("NOREAD", request->envp) ? NULL : read_body(request, &size);

	if (FCGX_GetParam("UNTIL", request->envp) != NULL)
		wait_for_file(FCGX_GetParam("UNTIL", request->envp));
	if (ms != NULL) {
		struct timespec wait = { atoi(ms) / 1000, (atoi(ms) % 1000) * 1000000L };

		if (nanosleep(&wait, NULL) != 0)
			FCGX_PutS("X-Interrupted: yes\r\n", request->out);
	}
	if (FCGX_GetParam("MORE_PROCESSES", request->envp) != NULL)
		lift_limit();
	if (FCGX_GetParam("FORK", request->envp) != NULL)
		have_a_child();
	if (FCGX_GetParam("LEAK", request->envp) != NULL)
		keep_a_megabyte();
	if (print != NULL)
		fprintf(stderr, "%s\n", print);
	if (FCGX_GetParam("CRASH", request->envp) != NULL)
		abort();
	FCGX_FPrintF(request->out, "Content-Type: application/octet-stream\r\n");
	if (FCGX_GetParam("HEAD", request->envp) != NULL)
		FCGX_FPrintF(request->out, "%s\r\n", FCGX_GetParam("HEAD", request->envp));
	if (FCGX_GetParam("SHARED", request->envp) != NULL)
		FCGX_FPrintF(request->out, "X-Shared: %d\r\n",
			(int)__atomic_add_fetch(&env->shared[1], 1, __ATOMIC_RELAXED));
	if (FCGX_GetParam("PID", request->envp) != NULL)
		FCGX_FPrintF(request->out, "X-Pid: %d\r\n", (int)getpid());
	if (FCGX_GetError(request->in) != 0)
		FCGX_FPrintF(request->out, "X-Error: %d\r\n", FCGX_GetError(request->in));
	FCGX_PutS("\r\n", request->out);
	FCGX_PutStr(body, (int)size, request->out);
	free(body);
	return FCGX_GetParam("APP_STATUS", request->envp) ? 7 : 0;
}

static void stop(void)
{
	fprintf(stderr, "module stopped\n");
}

const struct preforkd_app preforkd_app = {
	.abi = PREFORKD_APP_ABI,
	.name = "echo",
	.start = start,
	.handle = handle,
	.stop = stop,
};
