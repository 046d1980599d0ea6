/*
 * stream: the three streams of an FCGX_Request, over a connection of ours.
 *
 * FCGX_Stream is public: libfcgi's functions move the pointers and call us to fill and to empty.
 * While a request runs, and only then, this room waits for its client: for the body and for room in
 * the socket, each for a limited time. Reads nothing behind the end of the body.
 */
#ifndef PREFORKD_STREAM_H
#define PREFORKD_STREAM_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "preforkd_app.h"
#include "worker/answer.h"

struct conn;
struct conn_input;

/* The connection while a request has it. */
struct stream_pipe {
	struct conn *conn;
	struct conn_input *input;
	uint64_t receive_ms, send_ms;
	volatile sig_atomic_t sent;   /* a part of the answer may have gone out */
	bool broken;                  /* nothing more can be sent */
	bool ended;                   /* no request can follow */
	bool late;                    /* because the client goes on sending */
	uint64_t bytes_in, bytes_out; /* content of FCGI_STDIN and FCGI_STDOUT */
	bool wants_answer;            /* what the application says is to be looked at */
	struct answer answer;
};

/* Gives the request its streams, as new. -1: no memory. */
int stream_open(FCGX_Request *request, struct stream_pipe *pipe);
/* The rest of the answer, and its end. Whatever the application did with its streams. */
void stream_finish(FCGX_Request *request, struct stream_pipe *pipe, uint32_t app_status);
/* Skips what has arrived of the body; more: looks for more, without waiting. */
void stream_skip(struct stream_pipe *pipe, bool more);

#endif
