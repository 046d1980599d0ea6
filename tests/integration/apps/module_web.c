/* A module for tests behind web servers: the header X-Do says what. It answers with the body that
 * it got, and tells of the request in headers; X-Cut counts the bodies that were cut, of all
 * workers. */
#include <preforkd_app.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROOM (4 << 20)

static const struct preforkd_app_env *env;
static char body[ROOM];

static int start(const struct preforkd_app_env *given)
{
	env = given;
	return 0;
}

static const char *param(FCGX_Request *request, const char *name)
{
	const char *value = FCGX_GetParam(name, request->envp);

	return value != NULL ? value : "";
}

static int is(FCGX_Request *request, const char *what)
{
	return strcmp(param(request, "HTTP_X_DO"), what) == 0;
}

static void put_head(FCGX_Request *request, int size)
{
	FCGX_FPrintF(request->out, "Content-Type: application/octet-stream\r\nX-Method: %s\r\n",
		param(request, "REQUEST_METHOD"));
	FCGX_FPrintF(request->out, "X-Who: %s\r\n", param(request, "WHO"));
	FCGX_FPrintF(request->out, "X-Length: %s\r\nX-Read: %d\r\nX-Long: %d\r\nX-Cut: %d\r\n",
		param(request, "CONTENT_LENGTH"), size, (int)strlen(param(request, "HTTP_X_LONG")),
		(int)__atomic_load_n(&env->shared[0], __ATOMIC_RELAXED));
}

/* A line of many bytes, and many lines. */
static void put_large_head(FCGX_Request *request)
{
	FCGX_FPrintF(request->out, "X-Large: %s\r\n", param(request, "HTTP_X_LONG"));
	for (int i = 0; i < 40; i++)
		FCGX_FPrintF(request->out, "X-Line-%d: %d\r\n", i, i);
}

static void put_body(FCGX_Request *request, int size)
{
	static char block[8192];
	int wanted = atoi(param(request, "HTTP_X_SIZE"));

	FCGX_PutStr(body, size, request->out);
	for (int at = 0; at < wanted; at += (int)sizeof(block)) {
		for (size_t i = 0; i < sizeof(block); i++)
			block[i] = (char)((at + (int)i) % 251);
		FCGX_PutStr(block, wanted - at < 8192 ? wanted - at : 8192, request->out);
		if (is(request, "flush"))
			FCGX_FFlush(request->out);
	}
}

static int handle(FCGX_Request *request)
{
	int size = is(request, "no-read") ? 0 : FCGX_GetStr(body, ROOM, request->in);

	if (FCGX_GetError(request->in) != 0)
		__atomic_add_fetch(&env->shared[0], 1, __ATOMIC_RELAXED);
	if (is(request, "nothing"))
		return 0;
	if (is(request, "stderr"))
		for (int i = 0; i < 100; i++)
			FCGX_FPrintF(request->err, "line %d for the log of the web server\n", i);
	if (param(request, "HTTP_X_STATUS")[0] != '\0')
		FCGX_FPrintF(request->out, "Status: %s\r\n", param(request, "HTTP_X_STATUS"));
	put_head(request, size);
	if (is(request, "large-head"))
		put_large_head(request);
	FCGX_PutS("\r\n", request->out);
	put_body(request, size);
	return is(request, "app-status") ? 9 : 0;
}

const struct preforkd_app preforkd_app = {
	.abi = PREFORKD_APP_ABI,
	.name = "web",
	.start = start,
	.handle = handle,
};
