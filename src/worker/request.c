/*
 * request: the parameters as an environment, and what happens when a request takes too long.
 */
#include "worker/request.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/board.h"
#include "common/clock.h"
#include "common/job.h"
#include "worker/conn.h"
#include "worker/fcgi.h"
#include "worker/stream.h"

#define PATH_MAX_SHOWN (2 * BOARD_PATH)
#define EXPIRED                            \
	"Status: 504 Gateway Timeout\r\n"  \
	"Content-Type: text/plain\r\n\r\n" \
	"the application took too long to answer\n"

static FCGX_Request request; /* and its streams, one for the process */
static struct stream_pipe stream;
static char **environment; /* of the request; grows */
static size_t environment_room;

/* For the signal handler alone: the request in hand. */
static struct stream_pipe *volatile in_hand;

/* Reads what has arrived, so that the close does not take the answer away again. */
static void on_expired(int signo)
{
	uint8_t bytes[FCGI_HEADER + sizeof(EXPIRED) + FCGI_END_SIZE];
	size_t length = sizeof(EXPIRED) - 1;
	struct stream_pipe *pipe = in_hand;

	(void)signo;
	if (pipe == NULL)
		return;
	if (pipe->sent == 0) {
		int fd = pipe->conn->fd;
		uint16_t id = pipe->conn->fcgi.id;

		fcgi_put_header(bytes, FCGI_STDOUT, id, length);
		memcpy(bytes + FCGI_HEADER, EXPIRED, length);
		fcgi_put_end(bytes + FCGI_HEADER + length, id, EX_TEMPFAIL, FCGI_REQUEST_COMPLETE);
		(void)!send(fd, bytes, FCGI_HEADER + length + FCGI_END_SIZE,
			MSG_DONTWAIT | MSG_NOSIGNAL);
		shutdown(fd, SHUT_WR);
		for (int i = 0; i < 64 && recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0; i++)
			;
	}
	_exit(EX_TEMPFAIL);
}

void request_init(uint64_t receive_ms, uint64_t send_ms)
{
	struct sigaction expired = { .sa_handler = on_expired, .sa_flags = SA_RESTART };

	FCGX_Init();
	stream.receive_ms = receive_ms;
	stream.send_ms = send_ms;
	sigaction(JOB_EXPIRED_SIGNAL, &expired, NULL);
}

/* libfcgi puts the role there too. False: no memory, or the parameters are cut. */
static bool make_environment(struct conn *conn)
{
	static char role[] = "FCGI_ROLE=RESPONDER";
	int count = fcgi_count_pairs(conn->head, conn->head_length);

	if (count < 0)
		return false;
	if ((size_t)count + 2 > environment_room) {
		char **larger = reallocarray(environment, (size_t)count + 2, sizeof(char *));

		if (larger == NULL)
			return false;
		environment = larger;
		environment_room = (size_t)count + 2;
	}
	environment[0] = role;
	fcgi_split_pairs(conn->head, conn->head_length, environment + 1);
	environment[count + 1] = NULL;
	return true;
}

/* Method and path as far as they are known, for whoever looks why it takes so long. */
static void describe(const struct board_seat *seat)
{
	char path[PATH_MAX_SHOWN];
	const char *method = FCGX_GetParam("REQUEST_METHOD", environment);
	const char *script = FCGX_GetParam("SCRIPT_NAME", environment);
	const char *info = FCGX_GetParam("PATH_INFO", environment);

	if (script == NULL || *script == '\0')
		script = FCGX_GetParam("REQUEST_URI", environment);
	snprintf(path, sizeof(path), "%s%s", script != NULL ? script : "",
		info != NULL && FCGX_GetParam("SCRIPT_NAME", environment) == script ? info : "");
	path[strcspn(path, "?")] = '\0';
	board_describe(seat, method != NULL ? method : "", path);
}

/* The client has sent all that belongs to its request, padding included. */
static bool is_all_here(const struct conn *conn, const struct conn_input *input)
{
	return fcgi_is_read(&conn->fcgi) && fcgi_rest(&conn->fcgi) <= input->length - input->at;
}

/* Closing a socket with unread bytes resets it, and so do bytes that arrive after the close: the
 * client may lose the answer. */
static enum request_end end_of(const struct conn *conn, const struct conn_input *input)
{
	bool keep = conn->fcgi.keep && !stream.ended;

	if (stream.broken)
		return REQUEST_CLOSE;
	if (stream.late)
		return REQUEST_SHUT;
	stream_skip(&stream, !keep);
	if (keep)
		return stream.ended ? REQUEST_CLOSE : REQUEST_KEEP;
	return is_all_here(conn, input) || stream.ended ? REQUEST_CLOSE : REQUEST_SHUT;
}

static void count(const struct board_seat *seat, const struct conn *conn, uint64_t began)
{
	const struct board_answer answer = {
		.us = clock_us() - began,
		.bytes_in = conn->head_length + stream.bytes_in,
		.bytes_out = stream.bytes_out,
	};

	board_end(seat, &answer);
}

/* With nobody to answer it, a request that cannot be understood ends its connection. */
enum request_end request_serve(const struct preforkd_app *app, const struct board_seat *seat,
	struct conn *conn, struct conn_input *input)
{
	stream.conn = conn;
	stream.input = input;
	stream.sent = 0;
	stream.broken = stream.ended = stream.late = false;
	stream.bytes_in = stream.bytes_out = 0;
	if (!make_environment(conn) || stream_open(&request, &stream) != 0)
		return REQUEST_CLOSE;
	request.requestId = conn->fcgi.id;
	request.role = 1;
	request.envp = environment;
	request.ipcFd = request.listen_sock = -1; /* there is nothing for libfcgi to close */
	request.appStatus = 0;
	in_hand = &stream;
	uint64_t began = clock_us();
	board_begin(seat, began);
	describe(seat);
	int status = app->handle(&request);
	if (status == 0)
		status = request.appStatus; /* FCGX_SetExitStatus() */
	stream_finish(&request, &stream, (uint32_t)status);
	in_hand = NULL;
	count(seat, conn, began);
	return end_of(conn, input);
}
