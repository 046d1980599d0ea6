/* A module for tests: calls libfcgi as applications do, and as they should not. Parameter CALL says
 * what; each request is answered with a number, mostly of the bytes that could be read. */
#include <preforkd_app.h>

#include <stdarg.h>
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

static void plain(FCGX_Request *request)
{
	answer(request, rest(request));
}

static void exit_status(FCGX_Request *request)
{
	FCGX_SetExitStatus(299, request->in);
	FCGX_SetExitStatus(300, request->out);
	answer(request, rest(request));
}

/* A responder has no data: the call fails, and closes the stream. */
static void filter(FCGX_Request *request)
{
	int failed = FCGX_StartFilterData(request->in);

	answer(request, failed == -1 && FCGX_GetError(request->in) == FCGX_CALL_SEQ_ERROR &&
					FCGX_HasSeenEOF(request->in) == EOF
				? rest(request)
				: -1);
}

static void unget(FCGX_Request *request)
{
	int c = FCGX_GetChar(request->in);
	int back = FCGX_UnGetChar(c, request->in);

	answer(request, c == 'h' && back == c && FCGX_UnGetChar(c, request->in) == EOF
				? rest(request)
				: -1);
}

static void close_all(FCGX_Request *request)
{
	answer(request, rest(request));
	FCGX_PutS("to the log of the server", request->err);
	FCGX_FClose(request->out);
	FCGX_FClose(request->err);
	FCGX_FClose(request->in);
	FCGX_PutS("lost", request->out);
}

static void flush(FCGX_Request *request)
{
	for (int i = 0; i < 3; i++)
		FCGX_FFlush(request->out);
	answer(request, FCGX_HasSeenEOF(request->in) + rest(request));
	FCGX_FFlush(request->out);
}

static void is_cgi(FCGX_Request *request)
{
	answer(request, FCGX_IsCGI());
}

static void get_line(FCGX_Request *request)
{
	char line[8] = "";
	int n = FCGX_GetLine(line, 4, request->in) == line ? (int)strlen(line) : -1;

	n = n == 3 && FCGX_GetLine(line, sizeof(line), request->in) == line ? (int)strlen(line) : n;
	answer(request, FCGX_GetLine(line, sizeof(line), request->in) == NULL ? n : -1);
}

static int print(FCGX_Stream *stream, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	int n = FCGX_VFPrintF(stream, format, args);
	va_end(args);
	return n;
}

/* FCGX_FPrintF() ends there, too. */
static void print_all(FCGX_Request *request)
{
	print(request->out, "Content-Type: text/plain\r\n%s", "\r\n");
	int n = print(request->out, "%s %5.2f %lu %c %%", "text", 1.5, 7ul, 'x');
	FCGX_PutChar('\n', request->out);
	print(request->out, "%d\n", n);
}

/* An error that is cleared; what was closed stays so, as libfcgi has it. */
static void clear_error(FCGX_Request *request)
{
	FCGX_StartFilterData(request->in);
	FCGX_ClearError(request->in);
	answer(request, FCGX_GetError(request->in) == 0 ? rest(request) : -1);
}

static void wrong_way(FCGX_Request *request)
{
	char byte;

	answer(request, FCGX_GetStr(&byte, 1, request->out) == 0 &&
					FCGX_GetChar(request->err) == EOF &&
					FCGX_UnGetChar('x', request->out) == EOF &&
					FCGX_PutStr("x", 1, request->in) == -1 &&
					FCGX_PutChar('x', request->in) == EOF &&
					FCGX_FFlush(request->in) == 0
				? rest(request)
				: -1);
}

static void detach(FCGX_Request *request)
{
	int detached = FCGX_Detach(request);

	answer(request, FCGX_Attach(request) == 0 && detached == -1 ? rest(request) : -1);
}

static void initialised(FCGX_Request *request)
{
	FCGX_ShutdownPending();
	answer(request, FCGX_Init() == 0 ? rest(request) : -1);
}

/* What an application must not call. */

static void finish(FCGX_Request *request)
{
	answer(request, rest(request));
	FCGX_Finish_r(request);
}

static void finish_and_go_on(FCGX_Request *request)
{
	answer(request, rest(request));
	FCGX_Finish_r(request);
	FCGX_Finish_r(request);
}

static void free_all(FCGX_Request *request)
{
	answer(request, rest(request));
	FCGX_FFlush(request->out);
	FCGX_Free(request, 1);
}

/* The loop of an ordinary program: it must see its end. */
static void accept_next(FCGX_Request *request)
{
	answer(request, rest(request));
	while (FCGX_Accept_r(request) == 0)
		;
}

/* Those of programs with one request know nothing of ours. */
static void accept_of_one(FCGX_Request *request)
{
	FCGX_Stream *in, *out, *err;
	FCGX_ParamArray envp;
	int status = FCGX_Accept(&in, &out, &err, &envp);

	FCGX_Finish();
	answer(request, status < 0 ? rest(request) : -1);
}

static void free_streams(FCGX_Request *request)
{
	answer(request, rest(request));
	FCGX_FFlush(request->out);
	FCGX_FreeStream(&request->in);
	FCGX_FreeStream(&request->out);
	FCGX_FreeStream(&request->err);
}

static void init_request(FCGX_Request *request)
{
	answer(request, rest(request));
	FCGX_FFlush(request->out);
	FCGX_InitRequest(request, -1, 0);
}

static const struct {
	const char *name;
	void (*call)(FCGX_Request *request);
} calls[] = { { "exit-status", exit_status }, { "filter", filter }, { "unget", unget },
	{ "close", close_all }, { "flush", flush }, { "is-cgi", is_cgi }, { "get-line", get_line },
	{ "print", print_all }, { "clear-error", clear_error }, { "wrong-way", wrong_way },
	{ "detach", detach }, { "init", initialised }, { "finish", finish },
	{ "finish-twice", finish_and_go_on }, { "free", free_all }, { "accept", accept_next },
	{ "init-request", init_request }, { "accept-of-one", accept_of_one },
	{ "free-streams", free_streams } };

static int handle(FCGX_Request *request)
{
	const char *name = FCGX_GetParam("CALL", request->envp);
	void (*call)(FCGX_Request * request) = plain;

	for (size_t i = 0; name != NULL && i < sizeof(calls) / sizeof(calls[0]); i++)
		if (strcmp(name, calls[i].name) == 0)
			call = calls[i].call;
	call(request);
	return 0;
}

const struct preforkd_app preforkd_app = {
	.abi = PREFORKD_APP_ABI,
	.name = "calls",
	.handle = handle,
};
