/* A module for tests: all three roles. It answers with the role, what FCGX_StartFilterData() said,
 * the error of its input, and what it read of the body and of the data. Parameter CALL says how it
 * gets from the one to the other. */
#include <preforkd_app.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROOM (4 << 20)

static char body[ROOM], data[ROOM];

static int is(const char *call, const char *name)
{
	return call != NULL && strcmp(call, name) == 0;
}

static void answer(FCGX_Request *request, int started, int body_size, int data_size)
{
	FCGX_FPrintF(request->out, "Content-Type: text/plain\r\n\r\n%d %s %d %d %d %d\n",
		request->role, FCGX_GetParam("FCGI_ROLE", request->envp), started,
		FCGX_GetError(request->in), body_size, data_size);
	FCGX_PutStr(body, body_size, request->out);
	FCGX_PutStr(data, data_size, request->out);
}

static int handle(FCGX_Request *request)
{
	const char *call = FCGX_GetParam("CALL", request->envp);
	int started = 0, body_size = 0, data_size = 0;

	if (is(call, "close-body"))
		FCGX_FClose(request->in);
	else if (!is(call, "too-early"))
		body_size = FCGX_GetStr(body, ROOM, request->in);
	if (request->role == 3 && !is(call, "no-data")) {
		started = FCGX_StartFilterData(request->in);
		if (is(call, "unget-at-once"))
			FCGX_UnGetChar('!', request->in);
		data_size = FCGX_GetStr(data, is(call, "half") ? 10 : ROOM, request->in);
	}
	if (is(call, "twice"))
		started = FCGX_StartFilterData(request->in);
	answer(request, started, body_size, data_size);
	return 0;
}

const struct preforkd_app preforkd_app = {
	.abi = PREFORKD_APP_ABI,
	.name = "filter",
	.handle = handle,
	.roles = PREFORKD_APP_RESPONDER | PREFORKD_APP_AUTHORIZER | PREFORKD_APP_FILTER,
};
