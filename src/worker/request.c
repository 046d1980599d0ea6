/*
 * request: the parameters as an environment, and what happens when a request takes too long.
 */
#include "worker/request.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/board.h"
#include "common/clock.h"
#include "common/conf.h"
#include "common/job.h"
#include "worker/accesslog.h"
#include "worker/conn.h"
#include "worker/fcgi.h"
#include "worker/params.h"
#include "worker/stream.h"

#define EXPIRED_BODY "the application took too long to answer\n"
#define EXPIRED                           \
	"Status: 504 Gateway Timeout\r\n" \
	"Content-Type: text/plain\r\n\r\n" EXPIRED_BODY

static FCGX_Request request; /* and its streams, one for the process */
static struct stream_pipe stream;
static char **environment; /* of the request; grows */
static size_t environment_room;
static uint64_t began; /* us */
static uint64_t took;  /* us, the last one */
static struct accesslog *access_log;

/* For the signal handler alone: the request in hand. */
static struct stream_pipe *volatile in_hand;

static struct board_answer sum_up(void)
{
	return (struct board_answer){
		.us = clock_us() - began,
		.bytes_in = stream.conn->head_length + stream.bytes_in,
		.bytes_out = stream.bytes_out,
	};
}

static struct logline facts_of(const struct board_answer *sum)
{
	const struct answer *answer = &stream.answer;

	return (struct logline){
		.params = environment,
		.status = answer->status,
		.bytes_in = sum->bytes_in,
		.bytes = sum->bytes_out > answer->head ? sum->bytes_out - answer->head : 0,
		.us = sum->us,
	};
}

/* sent: the answer of ours. */
static void log_expired(bool sent)
{
	const struct board_answer sum = sum_up();
	struct logline facts = facts_of(&sum);

	if (!accesslog_is_on(access_log))
		return;
	if (sent) {
		facts.status = 504;
		facts.bytes = sizeof(EXPIRED_BODY) - 1;
	}
	accesslog_write_dying(access_log, &facts);
}

/* Reads what has arrived, so that the close does not take the answer away again. */
static void on_expired(int signo)
{
	uint8_t bytes[sizeof(EXPIRED) + FCGI_ANSWER_MORE];
	struct stream_pipe *pipe = in_hand;

	(void)signo;
	if (pipe == NULL)
		return;
	if (pipe->sent == 0) {
		int fd = pipe->conn->fd;
		size_t length = fcgi_put_answer(
			bytes, pipe->conn->fcgi.id, EXPIRED, sizeof(EXPIRED) - 1, EX_TEMPFAIL);

		(void)!send(fd, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL);
		shutdown(fd, SHUT_WR);
		for (int i = 0; i < 64 && recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0; i++)
			;
	}
	log_expired(pipe->sent == 0);
	_exit(EX_TEMPFAIL);
}

/* libfcgi looks once, whether descriptor 0 is a socket that listens, and remembers it. Where there
 * is no descriptor for that, an application hears that it is run by CGI, and nothing worse. */
static void show_a_listener(void)
{
	int given = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	int fd = given < 0 ? -1 : socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && dup2(fd, STDIN_FILENO) >= 0)
		FCGX_IsCGI();
	if (fd >= 0) {
		dup2(given, STDIN_FILENO);
		close(fd);
	}
	if (given >= 0)
		close(given);
}

void request_init(const struct conf_pool *pool, struct accesslog *log)
{
	struct sigaction expired = { .sa_handler = on_expired, .sa_flags = SA_RESTART };

	FCGX_Init();
	if (pool->kind == CONF_MODULE)
		show_a_listener();
	access_log = log;
	stream.receive_ms = pool->receive_timeout;
	stream.send_ms = pool->send_timeout;
	stream.wants_answer = accesslog_is_on(log);
	sigaction(JOB_EXPIRED_SIGNAL, &expired, NULL);
}

/* libfcgi puts it there too. */
static char *role_variable(unsigned role)
{
	static char responder[] = "FCGI_ROLE=RESPONDER";
	static char authorizer[] = "FCGI_ROLE=AUTHORIZER";
	static char filter[] = "FCGI_ROLE=FILTER";

	if (role == FCGI_AUTHORIZER)
		return authorizer;
	return role == FCGI_FILTER ? filter : responder;
}

/* For the role, parameters of so many bytes, and the end. Far more than are used, but what is not
 * used costs no memory. */
static bool make_room(size_t head_length)
{
	size_t room = fcgi_most_pairs(head_length) + 2;

	if (room <= environment_room)
		return true;
	char **larger = reallocarray(environment, room, sizeof(char *));
	if (larger == NULL)
		return false;
	environment = larger;
	environment_room = room;
	return true;
}

/* False: no memory, or the parameters are cut. */
static bool make_environment(struct conn *conn)
{
	if (!make_room(conn->head_length))
		return false;
	environment[0] = role_variable(conn->fcgi.role);
	int count = fcgi_split_pairs(conn->head, conn->head_length, environment + 1);
	if (count < 0)
		return false;
	environment[count + 1] = NULL;
	return true;
}

static size_t put_text(char *to, size_t room, const char *from, size_t length)
{
	size_t n = length < room ? length : room - 1;

	memcpy(to, from, n);
	to[n] = '\0';
	return n;
}

/* Method and path as far as they are known, for whoever looks why it takes so long. */
static void describe(const struct board_seat *seat)
{
	const char *method = params_get(environment, "REQUEST_METHOD");
	struct board_request text;
	struct params_path path;

	memset(text.method, 0, sizeof(text.method));
	params_path(environment, &path);
	put_text(text.method, sizeof(text.method), method, strlen(method));
	size_t at = put_text(text.path, sizeof(text.path), path.piece[0], path.length[0]);
	if (path.length[1] > 0)
		put_text(text.path + at, sizeof(text.path) - at, path.piece[1], path.length[1]);
	board_describe(seat, &text);
}

/* The client has sent all that belongs to its request, padding included. Of the request of an
 * authorizer nobody knows: many clients end its FCGI_STDIN, which it has not. */
static bool is_all_here(const struct conn *conn, const struct conn_input *input)
{
	return conn->fcgi.role != FCGI_AUTHORIZER && fcgi_is_read(&conn->fcgi) &&
	       fcgi_rest(&conn->fcgi) <= input->length - input->at;
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

static void account_for(const struct board_seat *seat)
{
	const struct board_answer sum = sum_up();

	if (accesslog_is_on(access_log)) {
		const struct logline facts = facts_of(&sum);

		accesslog_write(access_log, &facts);
	}
	took = sum.us;
	board_end(seat, &sum);
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
	stream.answer = (struct answer){ 0 };
	if (!make_environment(conn) || stream_open(&request, &stream) != 0)
		return REQUEST_CLOSE;
	request.requestId = conn->fcgi.id;
	request.role = conn->fcgi.role;
	request.envp = environment;
	request.ipcFd = request.listen_sock = -1; /* there is nothing for libfcgi to close */
	request.appStatus = 0;
	began = clock_us();
	atomic_signal_fence(memory_order_seq_cst);
	in_hand = &stream;
	board_begin(seat, began);
	describe(seat);
	int status = app->handle(&request);
	if (status == 0)
		status = request.appStatus; /* FCGX_SetExitStatus() */
	stream_finish(&request, &stream, (uint32_t)status);
	in_hand = NULL;
	enum request_end end = end_of(conn, input);
	if (end == REQUEST_CLOSE && !conn->watched) /* a set must be told before */
		conn_close(conn);
	account_for(seat);
	return end;
}

uint64_t request_us(void)
{
	return took;
}
