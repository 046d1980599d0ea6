/*
 * request: one request on a connection, read and answered through libfcgi.
 *
 * The only room that knows FCGX_*. It is given a connection and gives it back open or closes it; it
 * never waits for one. Issues of libfcgi 2.4.2 that it works around are named where it does.
 */
#ifndef PREFORKD_REQUEST_H
#define PREFORKD_REQUEST_H

#include "preforkd_app.h"

/* Before anything else. Takes over SIGPIPE, SIGUSR1 and SIGTERM: the caller sets them after it. */
int request_init(void);

enum request_end {
	REQUEST_NONE,   /* there was none: the client has gone, or speaks no FastCGI; closed */
	REQUEST_CLOSED, /* answered, and the connection closed */
	REQUEST_KEPT,   /* answered, and the client wants the connection open (FCGI_KEEP_CONN) */
};

enum request_end request_serve(const struct preforkd_app *app, int fd);

#endif
