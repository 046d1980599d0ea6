/*
 * preforkd_app.h: write an application that preforkd loads into its workers.
 *
 * An application is a shared object that exports one symbol, preforkd_app:
 *
 *	#include <preforkd_app.h>
 *
 *	static int hello(FCGX_Request *request)
 *	{
 *		FCGX_FPrintF(request->out, "Content-Type: text/plain\r\n\r\nhello\n");
 *		return 0;
 *	}
 *	const struct preforkd_app preforkd_app = {
 *		.abi = PREFORKD_APP_ABI, .name = "hello", .handle = hello,
 *	};
 *
 *	cc -shared -fPIC -o hello.so hello.c -lfcgi
 *
 * and in the configuration "module = /usr/lib/preforkd/hello.so ARGUMENTS".
 *
 * Each worker is a process of its own that loads the object after it has dropped its privileges,
 * calls start once, then handle for one request after the other (never two at once), then stop.
 * See preforkd_app(3).
 */
#ifndef PREFORKD_APP_H
#define PREFORKD_APP_H

#include <fcgiapp.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Raised when struct preforkd_app or struct preforkd_app_env changes. A worker loads modules of
 * this number and of ABI 1, which had no roles, and refuses others; with a start that fails so, the
 * pool does not become ready. */
#define PREFORKD_APP_ABI 2

/* What a web server may ask of an application (FastCGI specification 1.0, section 6). */
#define PREFORKD_APP_RESPONDER 1u  /* answers a request of a client */
#define PREFORKD_APP_AUTHORIZER 2u /* says whether a request is permitted; it sees no body */
#define PREFORKD_APP_FILTER 4u     /* answers, and is sent a file of the server beside the body */

/* What a worker tells its application. Valid from start until stop returns. */
struct preforkd_app_env {
	const char *pool; /* the pool's name */
	unsigned worker;  /* this worker's number in the pool, from 1; reused after its death */
	int argc;         /* the words of "module =": argv[0] is the path of the object */
	char **argv;      /* argv[argc] is NULL */
	/* Eight 64-bit cells that all workers of the pool share, zero when the master starts, kept
	 * over reloads and the death of workers. Use the GCC/Clang __atomic built-ins or C11
	 * atomics; preforkd itself uses none of them but for the built-in counter (cell 0). */
	uint64_t *shared;
};

#define PREFORKD_APP_SHARED 8

struct preforkd_app {
	uint32_t abi;     /* PREFORKD_APP_ABI */
	const char *name; /* for the log; required */

	/* Called once before the first request, may be NULL. Returns 0, or anything else when the
	 * worker cannot serve: the worker then ends, and with it the start or the reload fails;
	 * later the master retries with a growing delay. What it prints to stderr appears in
	 * preforkd's log. */
	int (*start)(const struct preforkd_app_env *env);

	/* Called for each request; required. Parameters are in request->envp (FCGX_GetParam), the
	 * body in request->in, the answer (CGI header and body) goes to request->out. The return
	 * value is the appStatus of FCGI_END_REQUEST (FastCGI specification 5.5), 0 for success.
	 * Must not call FCGX_Accept*, FCGX_Finish* or FCGX_Free: the worker does. SIGTERM is
	 * blocked while it runs, so that no system call of it is interrupted; leave that so. */
	int (*handle)(FCGX_Request *request);

	/* Called once before a worker that was asked to stop exits, may be NULL. Not called when
	 * the worker is killed or crashes. */
	void (*stop)(void);

	/* The roles that handle serves, PREFORKD_APP_RESPONDER and its like or-ed together; 0 means
	 * the responder. Which one a request has is in request->role (1, 2 or 3, as the
	 * specification counts) and in FCGI_ROLE. One of another role never gets to handle: it is
	 * answered with FCGI_UNKNOWN_ROLE, an authorizer's with the status 500 as well. Read from
	 * ABI 2 on. */
	uint32_t roles;
};

/* The one symbol that a module exports. */
extern const struct preforkd_app preforkd_app;

#ifdef __cplusplus
}
#endif

#endif
