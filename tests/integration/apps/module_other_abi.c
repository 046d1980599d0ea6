/* A module that was built for another ABI: preforkd must refuse it. */
#include <preforkd_app.h>

static int handle(FCGX_Request *request)
{
	(void)request;
	return 0;
}

const struct preforkd_app preforkd_app = {
	.abi = PREFORKD_APP_ABI + 1,
	.name = "other",
	.handle = handle,
};
