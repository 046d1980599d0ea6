/*
 * napper: a counter as a module, of which some requests take a second: those for /slow.
 */
#include <preforkd_app.h>
#include <string.h>
#include <time.h>

static uint64_t *counter;

static int start(const struct preforkd_app_env *env)
{
	counter = env->shared;
	return 0;
}

static int handle(FCGX_Request *request)
{
	const char *name = FCGX_GetParam("SCRIPT_NAME", request->envp);
	const struct timespec second = { .tv_sec = 1 };

	if (name != NULL && strcmp(name, "/slow") == 0)
		nanosleep(&second, NULL);
	FCGX_FPrintF(request->out, "Content-Type: text/plain\r\n\r\n%lu\n",
		(unsigned long)__atomic_add_fetch(counter, 1, __ATOMIC_RELAXED));
	return 0;
}

const struct preforkd_app preforkd_app = {
	.abi = PREFORKD_APP_ABI,
	.name = "napper",
	.start = start,
	.handle = handle,
};
