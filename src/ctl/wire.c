/*
 * wire: libcurl's multi interface, with one unix socket and the gate's few rules.
 *
 * The one room that knows curl. What comes back is held to a limit. Reading may use a kept
 * connection again; a command has one of its own, because curl repeats by itself what a kept
 * connection has lost.
 */
#include "ctl/wire.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/err.h"

#define REPLY_MAX (64u << 20) /* 10,000 workers are 5 MB */

struct wire {
	const char *path;
	CURLM *multi;
};

struct wire_call {
	struct wire *wire;
	CURL *easy;
	long timeout;
	struct wire_reply reply;
	size_t room; /* of its body */
	bool too_large;
	bool done;
	CURLcode code; /* once it is done */
};

struct wire *wire_open(const char *path, struct err *err)
{
	struct wire *wire;

	if (strlen(path) >= sizeof(((struct sockaddr_un *)NULL)->sun_path)) {
		err_set(err, EX_USAGE, "%s: too long for the path of a socket", path);
		return NULL;
	}
	wire = calloc(1, sizeof(*wire));
	if (wire != NULL && curl_global_init(CURL_GLOBAL_NOTHING) == CURLE_OK)
		wire->multi = curl_multi_init();
	if (wire == NULL || wire->multi == NULL) {
		free(wire);
		err_set(err, EXIT_FAILURE, "out of memory");
		return NULL;
	}
	wire->path = path;
	return wire;
}

void wire_close(struct wire *wire)
{
	if (wire == NULL)
		return;
	curl_multi_cleanup(wire->multi);
	curl_global_cleanup();
	free(wire);
}

pid_t wire_peer(const struct wire *wire)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	struct ucred peer = { 0 };
	socklen_t length = sizeof(peer);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return 0;
	memcpy(to.sun_path, wire->path, strlen(wire->path));
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0 ||
		getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0)
		peer.pid = 0;
	close(fd);
	return peer.pid;
}

static size_t receive(char *bytes, size_t one, size_t count, void *arg)
{
	struct wire_call *call = arg;
	size_t had = call->reply.length, more = one * count;

	if (more > REPLY_MAX - had) {
		call->too_large = true;
		return 0;
	}
	if (had + more + 1 > call->room) {
		size_t room = 2 * (had + more + 1);
		char *body = realloc(call->reply.body, room);
		if (body == NULL)
			return 0;
		call->reply.body = body;
		call->room = room;
	}
	memcpy(call->reply.body + had, bytes, more);
	call->reply.body[had + more] = '\0';
	call->reply.length = had + more;
	return more;
}

static void set_options(struct wire_call *call, enum wire_method method, const char *url)
{
	CURL *easy = call->easy;

	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, call->wire->path);
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http");
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, call->timeout);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, receive);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
	curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
	if (method == WIRE_POST) {
		curl_easy_setopt(easy, CURLOPT_POST, 1L);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, "");
		curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
		curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
	}
}

struct wire_call *wire_begin(struct wire *wire, enum wire_method method, const char *target,
	long timeout, struct err *err)
{
	struct wire_call *call = calloc(1, sizeof(*call));
	char *url = NULL;

	if (call == NULL || asprintf(&url, "http://preforkd%s", target) < 0 ||
		(call->easy = curl_easy_init()) == NULL) {
		free(url);
		free(call);
		err_set(err, EXIT_FAILURE, "out of memory");
		return NULL;
	}
	call->wire = wire;
	call->timeout = timeout;
	set_options(call, method, url);
	free(url);
	curl_multi_add_handle(wire->multi, call->easy);
	return call;
}

/* Notes at every call what curl says of its end. Did any end? */
static bool collect(struct wire *wire)
{
	bool any = false;
	int left;

	for (CURLMsg *m; (m = curl_multi_info_read(wire->multi, &left)) != NULL;) {
		struct wire_call *of = NULL;
		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &of);
		if (m->msg == CURLMSG_DONE && of != NULL) {
			any = of->done = true;
			of->code = m->data.result;
		}
	}
	return any;
}

void wire_turn(struct wire *wire, int fd, int wait)
{
	struct curl_waitfd also = { .fd = fd, .events = CURL_WAIT_POLLIN };
	int running;

	curl_multi_perform(wire->multi, &running);
	if (collect(wire))
		return;
	if (curl_multi_poll(wire->multi, &also, fd < 0 ? 0 : 1, wait, NULL) == CURLM_OK)
		curl_multi_perform(wire->multi, &running);
}

void wire_drop(struct wire_call *call)
{
	if (call == NULL)
		return;
	curl_multi_remove_handle(call->wire->multi, call->easy);
	curl_easy_cleanup(call->easy);
	wire_reply_free(&call->reply);
	free(call);
}

/* Nobody is there, or not for us. */
static void explain_connect(const struct wire_call *call, struct err *err)
{
	const char *path = call->wire->path;
	long number = 0;

	curl_easy_getinfo(call->easy, CURLINFO_OS_ERRNO, &number);
	if (number == EACCES || number == EPERM)
		err_set(err, EX_NOPERM, "not permitted to connect to %s", path);
	else if (number == EAGAIN)
		err_set(err, EX_TEMPFAIL, "too many others wait at %s", path);
	else if (number == ENOENT)
		err_set(err, EX_UNAVAILABLE, "preforkd is not running: there is no %s", path);
	else if (number == ECONNREFUSED)
		err_set(err, EX_UNAVAILABLE, "preforkd is not running: nobody listens at %s", path);
	else
		err_set(err, EX_UNAVAILABLE, "cannot connect to %s: %s", path,
			number != 0 ? strerror((int)number) : "no reason is known");
}

static void explain(const struct wire_call *call, CURLcode code, struct err *err)
{
	if (code == CURLE_COULDNT_CONNECT)
		explain_connect(call, err);
	else if (code == CURLE_OPERATION_TIMEDOUT)
		err_set(err, EX_TEMPFAIL, "no answer within %g s", (double)call->timeout / 1e3);
	else if (call->too_large)
		err_set(err, EXIT_FAILURE, "the answer is larger than %u MB", REPLY_MAX >> 20);
	else if (code == CURLE_GOT_NOTHING || code == CURLE_RECV_ERROR ||
		 code == CURLE_SEND_ERROR || code == CURLE_PARTIAL_FILE)
		err_set(err, EXIT_FAILURE, "the connection was closed before the answer was there");
	else
		err_set(err, EXIT_FAILURE, "%s", curl_easy_strerror(code));
}

int wire_end(struct wire_call *call, struct wire_reply *reply, struct err *err)
{
	collect(call->wire);
	if (!call->done)
		return 0;
	if (call->code != CURLE_OK) {
		explain(call, call->code, err);
		wire_drop(call);
		return -1;
	}
	curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &call->reply.status);
	*reply = call->reply;
	call->reply = (struct wire_reply){ 0 };
	wire_drop(call);
	return 1;
}

int wire_ask(struct wire *wire, enum wire_method method, const char *target, long timeout,
	struct wire_reply *reply, struct err *err)
{
	struct wire_call *call = wire_begin(wire, method, target, timeout, err);
	int end;

	if (call == NULL)
		return -1;
	wire_turn(wire, -1, 0);
	while ((end = wire_end(call, reply, err)) == 0)
		wire_turn(wire, -1, 1000);
	return end < 0 ? -1 : 0;
}

void wire_reply_free(struct wire_reply *reply)
{
	free(reply->body);
	*reply = (struct wire_reply){ 0 };
}

char *wire_quote(const char *name)
{
	char *quoted = curl_easy_escape(NULL, name, 0), *copy = NULL;

	if (quoted != NULL)
		copy = strdup(quoted);
	curl_free(quoted);
	return copy;
}
