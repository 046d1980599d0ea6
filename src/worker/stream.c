/*
 * stream: FCGX_Stream, filled and emptied by hand.
 *
 * The streams are allocated as libfcgi does it and have the layout of its private data in front, so
 * that FCGX_SetExitStatus() finds the request and FCGX_Finish_r(), which an application must not
 * call, frees what can be freed. A short answer is one send(2): the buffer has room in front for
 * the header of the record, and behind for the end of the request.
 */
#include "worker/stream.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/clock.h"
#include "common/fds.h"
#include "worker/conn.h"
#include "worker/fcgi.h"

#define OUT_SIZE 65528 /* content of a record, a multiple of 8 */
#define ERR_SIZE 4096
#define DRAIN_MS 2000
#define SEND_STEPS 8 /* of send-timeout, in which the client is looked at */
#define DRAIN_BYTES (64 << 20)
#define TAIL (FCGI_HEADER + FCGI_END_SIZE)

/* What libfcgi 2.4 keeps there (FCGX_Stream_Data), and then ours. */
struct stream_data {
	unsigned char *buff;
	int bufflen;
	unsigned char *allocated;
	unsigned char *buff_stop;
	int type, eor_stop, skip, content_length, padding_length, is_anything_written, raw_write;
	FCGX_Request *request;

	struct stream_pipe *pipe;
};

static struct stream_data *data_of(const FCGX_Stream *stream)
{
	return stream->data;
}

static int to_poll(uint64_t ms)
{
	return ms < INT_MAX ? (int)ms : INT_MAX;
}

static bool wait_for(int fd, short events, uint64_t ms)
{
	struct pollfd state = { .fd = fd, .events = events };
	int n;

	do
		n = poll(&state, 1, to_poll(ms));
	while (n < 0 && errno == EINTR);
	if (n == 0)
		errno = ETIMEDOUT;
	return n > 0;
}

/* The kernel says that there is room when there is much of it: up to that a slow client takes some
 * now and then. */
static bool wait_for_room(int fd, uint64_t ms)
{
	uint64_t step = ms / SEND_STEPS + 1, idle = 0;
	int before = fds_untaken(fd);

	while (!wait_for(fd, POLLOUT, step)) {
		if (errno != ETIMEDOUT)
			return false;
		int now = fds_untaken(fd);
		idle = now < before ? 0 : idle + step;
		before = now;
		if (idle >= ms)
			return false;
	}
	return true;
}

/* All of it, as fast as the client takes it. False with errno: it is gone, or does not. */
static bool send_all(struct stream_pipe *pipe, const uint8_t *bytes, size_t length)
{
	pipe->sent = 1;
	while (length > 0 && !pipe->broken) {
		ssize_t n = send(pipe->conn->fd, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n >= 0) {
			bytes += n;
			length -= (size_t)n;
		} else if (errno == EAGAIN)
			pipe->broken = !wait_for_room(pipe->conn->fd, pipe->send_ms);
		else
			pipe->broken = errno != EINTR;
	}
	return !pipe->broken;
}

static void fail(FCGX_Stream *stream, int error)
{
	if (stream->FCGI_errno == 0)
		stream->FCGI_errno = error != 0 ? error : EPIPE;
	stream->isClosed = 1;
	stream->wrNext = stream->stop = stream->rdNext = data_of(stream)->buff;
}

static void receive(struct stream_pipe *pipe, FCGX_Stream *stream)
{
	struct conn_input *input = pipe->input;
	int flags = MSG_DONTWAIT;
	ssize_t n;

	input->at = input->length = 0;
	do {
		n = recv(pipe->conn->fd, input->bytes, sizeof(input->bytes), flags);
		if (n < 0 && errno == EAGAIN && !wait_for(pipe->conn->fd, POLLIN, pipe->receive_ms))
			break;
	} while (n < 0 && (errno == EAGAIN || errno == EINTR));
	if (n > 0) {
		input->length = (size_t)n;
		return;
	}
	pipe->ended = true;
	fail(stream, n == 0 ? ECONNRESET : errno);
}

/* The bytes stay where they were received: the stream points to them. */
static void deliver(FCGX_Stream *stream, struct stream_pipe *pipe, const struct fcgi_event *event)
{
	uint8_t *end = pipe->input->bytes + pipe->input->at;

	stream->rdNext = stream->stopUnget = end - event->length;
	stream->wrNext = stream->stop = end;
}

/* FCGX_StartFilterData() sets the type of the stream. It may do so before the body has been read,
 * if that was closed; then the body is skipped. */
static void take_event(FCGX_Stream *stream, struct stream_pipe *pipe, const struct fcgi_event *e)
{
	switch (e->kind) {
	case FCGI_BODY_SOME:
	case FCGI_DATA_SOME:
		pipe->bytes_in += e->length;
		if (data_of(stream)->type == (e->kind == FCGI_BODY_SOME ? FCGI_STDIN : FCGI_DATA))
			deliver(stream, pipe, e);
		break;
	case FCGI_BODY_END:
		stream->isClosed = data_of(stream)->type == FCGI_STDIN;
		break;
	case FCGI_DATA_END:
		stream->isClosed = 1;
		break;
	case FCGI_REPLY:
		send_all(pipe, e->bytes, e->length);
		break;
	case FCGI_ABORTED:
		fail(stream, ECONNABORTED);
		break;
	case FCGI_BROKEN:
		pipe->ended = true;
		fail(stream, FCGX_PROTOCOL_ERROR);
		break;
	default:
		break;
	}
}

static void fill(FCGX_Stream *stream)
{
	struct stream_pipe *pipe = data_of(stream)->pipe;
	struct conn_input *input = pipe->input;
	struct fcgi_event event;

	stream->rdNext = stream->stopUnget = stream->stop; /* or FCGX_UnGetChar() meets new bytes */
	if (fcgi_is_read(&pipe->conn->fcgi) || pipe->ended)
		stream->isClosed = 1;
	while (!stream->isClosed && stream->rdNext == stream->stop) {
		if (input->at == input->length)
			receive(pipe, stream);
		if (stream->isClosed)
			break;
		input->at += fcgi_next(&pipe->conn->fcgi, input->bytes + input->at,
			input->length - input->at, &event);
		take_event(stream, pipe, &event);
	}
}

static void empty_nothing(FCGX_Stream *stream, int close)
{
	(void)stream;
	(void)close;
}

static void fill_nothing(FCGX_Stream *stream)
{
	stream->isClosed = 1;
}

static void look_at(struct stream_pipe *pipe, const unsigned char *bytes, size_t length)
{
	if (pipe->wants_answer)
		answer_take(&pipe->answer, bytes, length);
}

/* 5.3: a stream ends with an empty record. Of an error stream in which nothing was written there is
 * none; that of the answer comes with the end of the request. */
static size_t put_err_end(const struct stream_data *data, unsigned char *end)
{
	if (data->type != FCGI_STDERR || !data->is_anything_written)
		return 0;
	fcgi_put_header(end, FCGI_STDERR, data->pipe->conn->fcgi.id, 0);
	return FCGI_HEADER;
}

/* One record of what has been written. close: nothing more will be. */
static void empty(FCGX_Stream *stream, int close)
{
	struct stream_data *data = data_of(stream);
	size_t length = (size_t)(stream->wrNext - data->buff) - FCGI_HEADER;
	unsigned char *from = length > 0 ? data->buff : stream->wrNext;
	size_t all = (size_t)(stream->wrNext - from);

	if (stream->isClosed)
		return;
	if (data->type == FCGI_STDOUT)
		look_at(data->pipe, data->buff + FCGI_HEADER, length);
	fcgi_put_header(data->buff, (enum fcgi_type)data->type, data->pipe->conn->fcgi.id, length);
	data->is_anything_written |= length > 0;
	if (close)
		all += put_err_end(data, stream->wrNext);
	if (all > 0 && !send_all(data->pipe, from, all)) {
		fail(stream, errno);
		return;
	}
	if (data->type == FCGI_STDOUT)
		data->pipe->bytes_out += length;
	stream->wrNext = data->buff + FCGI_HEADER;
}

/* size 0: a reader. */
static FCGX_Stream *make_stream(enum fcgi_type type, size_t size)
{
	FCGX_Stream *stream = calloc(1, sizeof(*stream));
	struct stream_data *data = calloc(1, sizeof(*data));
	size_t all = size > 0 ? FCGI_HEADER + size + TAIL : FCGI_HEADER;
	unsigned char *buffer = malloc(all);

	if (stream == NULL || data == NULL || buffer == NULL) {
		free(stream);
		free(data);
		free(buffer);
		return NULL;
	}
	data->buff = data->allocated = buffer;
	data->bufflen = (int)size;
	data->buff_stop = buffer + FCGI_HEADER + size;
	data->type = type;
	stream->data = data;
	stream->isReader = size == 0;
	stream->fillBuffProc = size == 0 ? fill : fill_nothing;
	stream->emptyBuffProc = size == 0 ? empty_nothing : empty;
	return stream;
}

static void reset(FCGX_Stream *stream, FCGX_Request *request, struct stream_pipe *pipe)
{
	struct stream_data *data = data_of(stream);

	data->request = request;
	data->pipe = pipe;
	data->is_anything_written = 0;
	if (stream->isReader)
		data->type = FCGI_STDIN; /* FCGX_StartFilterData() has changed it, perhaps */
	stream->isClosed = stream->wasFCloseCalled = stream->FCGI_errno = 0;
	stream->wrNext = stream->isReader ? data->buff : data->buff + FCGI_HEADER;
	stream->stop = stream->isReader ? data->buff : data->buff_stop;
	stream->rdNext = stream->stopUnget = stream->stop;
}

/* Those that are not there. False: no memory. */
static bool make_streams(FCGX_Request *request)
{
	if (request->in == NULL)
		request->in = make_stream(FCGI_STDIN, 0);
	if (request->out == NULL)
		request->out = make_stream(FCGI_STDOUT, OUT_SIZE);
	if (request->err == NULL)
		request->err = make_stream(FCGI_STDERR, ERR_SIZE);
	return request->in != NULL && request->out != NULL && request->err != NULL;
}

int stream_open(FCGX_Request *request, struct stream_pipe *pipe)
{
	if (!make_streams(request))
		return -1;
	reset(request->in, request, pipe);
	reset(request->out, request, pipe);
	reset(request->err, request, pipe);
	return 0;
}

static void skip_input(struct stream_pipe *pipe)
{
	struct conn_input *input = pipe->input;
	struct fcgi *f = &pipe->conn->fcgi;
	struct fcgi_event event;

	while (input->at < input->length && !fcgi_is_read(f) && !pipe->ended) {
		input->at +=
			fcgi_next(f, input->bytes + input->at, input->length - input->at, &event);
		pipe->ended = event.kind == FCGI_BROKEN;
		if (event.kind == FCGI_BODY_SOME || event.kind == FCGI_DATA_SOME)
			pipe->bytes_in += event.length;
		if (event.kind == FCGI_REPLY)
			send_all(pipe, event.bytes, event.length);
	}
}

void stream_skip(struct stream_pipe *pipe, bool more)
{
	struct conn_input *input = pipe->input;

	skip_input(pipe);
	if (!more || fcgi_is_read(&pipe->conn->fcgi) || pipe->ended)
		return;
	ssize_t n = recv(pipe->conn->fd, input->bytes, sizeof(input->bytes), MSG_DONTWAIT);
	input->at = 0;
	input->length = n > 0 ? (size_t)n : 0;
	pipe->ended = n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
	skip_input(pipe);
}

/* The client believes the end of a request to be the end of its body, too: where the connection is
 * kept, what the application did not read is read away before. Not for long, and then it is closed.
 */
static void drain(FCGX_Request *request, struct stream_pipe *pipe)
{
	size_t total = 0;

	stream_skip(pipe, pipe->conn->fcgi.keep);
	if (!pipe->conn->fcgi.keep || fcgi_is_read(&pipe->conn->fcgi) || pipe->ended)
		return;
	uint64_t now = clock_ms(), end = now + DRAIN_MS;
	empty(request->out, 0);
	while (!fcgi_is_read(&pipe->conn->fcgi) && !pipe->ended && !pipe->broken) {
		bool late = now >= end || total > DRAIN_BYTES ||
			    !wait_for(pipe->conn->fd, POLLIN, end - now);

		if (late) {
			pipe->ended = pipe->late = true;
			return;
		}
		stream_skip(pipe, true);
		total += pipe->input->length;
		now = clock_ms();
	}
}

/* An application that freed its streams gets new ones, for the end at least. */
void stream_finish(FCGX_Request *request, struct stream_pipe *pipe, uint32_t app_status)
{
	uint16_t id = pipe->conn->fcgi.id;

	if ((request->in == NULL || request->out == NULL || request->err == NULL) &&
		stream_open(request, pipe) != 0) {
		pipe->broken = true;
		return;
	}
	FCGX_Stream *out = request->out;
	empty(request->err, 1);
	drain(request, pipe);
	if (pipe->broken)
		return;
	unsigned char *begin = data_of(out)->buff, *end = out->wrNext;
	if (out->isClosed) /* by FCGX_FClose(), which has sent it */
		end = begin + FCGI_HEADER;
	size_t length = (size_t)(end - begin) - FCGI_HEADER;
	look_at(pipe, begin + FCGI_HEADER, length);
	fcgi_put_header(begin, FCGI_STDOUT, id, length);
	if (length > 0) {
		fcgi_put_header(end, FCGI_STDOUT, id, 0);
		end += FCGI_HEADER;
	}
	fcgi_put_end(end, id, app_status, FCGI_REQUEST_COMPLETE);
	if (send_all(pipe, begin, (size_t)(end - begin) + FCGI_END_SIZE))
		pipe->bytes_out += length;
}
