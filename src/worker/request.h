/*
 * request: one request whose head is there: parameters, the application, the answer.
 *
 * Between request_serve() and its return the request is in hand: the scoreboard says so, and
 * JOB_EXPIRED_SIGNAL ends the process with an answer to it.
 */
#ifndef PREFORKD_REQUEST_H
#define PREFORKD_REQUEST_H

#include <stdint.h>

#include "preforkd_app.h"

struct accesslog;
struct board_seat;
struct conf_pool;
struct conn;
struct conn_input;

/* Once, before signals are arranged: libfcgi's own start takes over SIGPIPE, SIGUSR1 and SIGTERM,
 * and must not come later because an application asks for it. */
void request_init(const struct conf_pool *pool, struct accesslog *log);

enum request_end {
	REQUEST_CLOSE, /* the connection is over */
	REQUEST_SHUT,  /* the same, but the client still sends and has to read the answer */
	REQUEST_KEEP,  /* the client wants it open (FCGI_KEEP_CONN) */
};

/* What is left of the input belongs to what follows. */
enum request_end request_serve(const struct preforkd_app *app, const struct board_seat *seat,
	struct conn *conn, struct conn_input *input);
/* How long the last one took. */
uint64_t request_us(void);

#endif
