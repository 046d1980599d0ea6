/* A module for tests: calls libfcgi as applications do, and as they should not. Parameter CALL says
 * what; each request is answered with the number of bytes that could be read. */
#include <preforkd_app.h>

#include <stdio.h>
#include <string.h>

static void answer(FCGX_Request *request, int number)
{
	FCGX_FPrintF(request->out, "Content-Type: text/plain\r\n\r\n%d\n", number);
}

static int rest(FCGX_Request *request)
{
	int n = 0;

	while (FCGX_GetChar(request->in) != EOF)
		n++;
	return n;
}

static int handle(FCGX_Request *request)
{
	const char *call = FCGX_GetParam("CALL", request->envp);
	int c;

	if (call == NULL)
		answer(request, rest(request));
	else if (strcmp(call, "exit-status") == 0) {
		FCGX_SetExitStatus(300, request->out);
		answer(request, rest(request));
	} else if (strcmp(call, "filter") == 0) {
		rest(request);
		FCGX_StartFilterData(request->in);
		answer(request, rest(request));
	} else if (strcmp(call, "unget") == 0) {
		c = FCGX_GetChar(request->in);
		answer(request, FCGX_UnGetChar(c, request->in) == c ? rest(request) : -1);
	} else if (strcmp(call, "close") == 0) {
		answer(request, rest(request));
		FCGX_PutS("to the log of the server", request->err);
		FCGX_FClose(request->out);
		FCGX_FClose(request->err);
		FCGX_FClose(request->in);
		FCGX_PutS("lost", request->out);
	} else if (strcmp(call, "flush") == 0) {
		for (int i = 0; i < 3; i++)
			FCGX_FFlush(request->out);
		answer(request, FCGX_HasSeenEOF(request->in) + rest(request));
		FCGX_FFlush(request->out);
	} else if (strcmp(call, "is-cgi") == 0)
		answer(request, FCGX_IsCGI());
	else if (strcmp(call, "finish") == 0) { /* which it must not */
		answer(request, rest(request));
		FCGX_Finish_r(request);
	}
	return 0;
}

const struct preforkd_app preforkd_app = {
	.abi = PREFORKD_APP_ABI,
	.name = "calls",
	.handle = handle,
};
