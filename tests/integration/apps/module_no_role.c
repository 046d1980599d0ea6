/* A module that declares a role that there is not: preforkd must refuse it. */
#include <preforkd_app.h>

static int handle(FCGX_Request *request)
{
	(void)request;
	return 0;
}

const struct preforkd_app preforkd_app = {
	.abi = PREFORKD_APP_ABI,
	.name = "no-role",
	.handle = handle,
	.roles = PREFORKD_APP_RESPONDER | 8,
};
