/* A module for tests: an authorizer and nothing else. It lets those in who have the header X-Key:
 * open; WHO in its answer goes on to the application. It says in a header how much it could read.
 */
#include <preforkd_app.h>

#include <stdio.h>
#include <string.h>

static int rest(FCGX_Request *request)
{
	int n = 0;

	while (FCGX_GetChar(request->in) != EOF)
		n++;
	return n;
}

static int handle(FCGX_Request *request)
{
	const char *key = FCGX_GetParam("HTTP_X_KEY", request->envp);
	const char *role = FCGX_GetParam("FCGI_ROLE", request->envp);
	int opens = key != NULL && strcmp(key, "open") == 0;

	if (opens)
		FCGX_PutS("Status: 200 OK\r\nVariable-WHO: somebody\r\n", request->out);
	else
		FCGX_PutS("Status: 403 Forbidden\r\nContent-Type: text/plain\r\n", request->out);
	FCGX_FPrintF(request->out, "X-Role: %d %s\r\nX-Read: %d %d\r\n\r\n", request->role, role,
		rest(request), FCGX_GetError(request->in));
	if (!opens)
		FCGX_PutS("no entry\n", request->out);
	return 0;
}

const struct preforkd_app preforkd_app = {
	.abi = PREFORKD_APP_ABI,
	.name = "authorizer",
	.handle = handle,
	.roles = PREFORKD_APP_AUTHORIZER,
};
