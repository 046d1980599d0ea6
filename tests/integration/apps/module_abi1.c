/* A module as it was built for ABI 1: its structure ends with stop. What lies behind it in memory
 * must not be taken for roles, so the guard after it says all of them. */
#include <fcgiapp.h>
#include <stdint.h>

static int handle(FCGX_Request *request)
{
	FCGX_FPrintF(request->out, "Content-Type: text/plain\r\n\r\nrole %d\n", request->role);
	return 0;
}

struct first_app {
	uint32_t abi;
	const char *name;
	int (*start)(const void *env);
	int (*handle)(FCGX_Request *request);
	void (*stop)(void);
};

struct first_app_and_more {
	struct first_app app;
	uint32_t behind;
};

extern const struct first_app_and_more preforkd_app;
const struct first_app_and_more preforkd_app = {
	.app = { .abi = 1, .name = "first", .handle = handle },
	.behind = 7,
};
