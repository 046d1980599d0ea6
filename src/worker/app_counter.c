/*
 * app_counter: counts in the first cell of the pool's shared memory, nothing else.
 */
#include "worker/app_counter.h"

#include <inttypes.h>
#include <stdio.h>

static uint64_t *cell;

static int start(const struct preforkd_app_env *env)
{
	cell = &env->shared[0];
	return 0;
}

static int handle(FCGX_Request *request)
{
	char answer[128];
	uint64_t number = __atomic_add_fetch(cell, 1, __ATOMIC_RELAXED);
	int n = snprintf(
		answer, sizeof(answer), "Content-Type: text/plain\r\n\r\n%" PRIu64 "\n", number);

	return FCGX_PutStr(answer, n, request->out) == n ? 0 : 1;
}

const struct preforkd_app app_counter = {
	.abi = PREFORKD_APP_ABI,
	.name = "counter",
	.start = start,
	.handle = handle,
};
