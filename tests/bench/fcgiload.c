/*
 * fcgiload: asks a counter over FastCGI as fast as it can, and checks every answer.
 *
 *	fcgiload [-k] [-c CLIENTS] [-t MILLISECONDS] /PATH | HOST:PORT
 *
 * Each client is a thread with one connection at a time: one for each request, or with -k one for
 * all. Prints "REQUESTS/S REQUESTS FIRST LAST". Nobody else may ask meanwhile: the numbers must be
 * those from FIRST to LAST, each once. Ends with 1 and a sentence if an answer is lost, cut or
 *wrong.
 */
#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define CLIENTS_MAX 1000
#define PATIENCE 20 /* seconds without a byte: the answer is lost */
#define ANSWER_MAX 4096
#define HEADER "Content-Type: text/plain\r\n\r\n"

enum kind { BEGIN_REQUEST = 1, END_REQUEST = 3, PARAMS = 4, STDIN = 5, STDOUT = 6 };

struct record {
	unsigned char version, kind, id_high, id_low, length_high, length_low, padding, reserved;
};

struct job {
	struct sockaddr_storage address;
	socklen_t address_length;
	int clients;
	bool keep;
	uint64_t until; /* ns of the monotonic clock */
	char request[1024];
	size_t request_length;
};

struct client {
	const struct job *job;
	pthread_t thread;
	uint64_t *numbers; /* all that it was given */
	size_t count, room;
	char data[ANSWER_MAX], text[ANSWER_MAX]; /* as received; what STDOUT said */
	size_t data_length, text_length;
};

static void __attribute__((noreturn, format(printf, 1, 2))) fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("fcgiload: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	exit(EXIT_FAILURE);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* The request */

static void add_record(struct job *job, enum kind kind, const void *content, size_t length)
{
	struct record head = { .version = 1,
		.kind = (unsigned char)kind,
		.id_low = 1,
		.length_high = (unsigned char)(length >> 8),
		.length_low = (unsigned char)(length & 0xff) };

	if (job->request_length + sizeof(head) + length > sizeof(job->request))
		fail("the request is too long");
	memcpy(job->request + job->request_length, &head, sizeof(head));
	if (length > 0)
		memcpy(job->request + job->request_length + sizeof(head), content, length);
	job->request_length += sizeof(head) + length;
}

/* What nginx sends for a simple page. */
static void make_request(struct job *job)
{
	static const char *const params[][2] = { { "REQUEST_METHOD", "GET" },
		{ "QUERY_STRING", "" }, { "CONTENT_TYPE", "" }, { "CONTENT_LENGTH", "" },
		{ "SCRIPT_NAME", "/" }, { "REQUEST_URI", "/" }, { "DOCUMENT_URI", "/" },
		{ "SERVER_PROTOCOL", "HTTP/1.1" }, { "REQUEST_SCHEME", "http" },
		{ "GATEWAY_INTERFACE", "CGI/1.1" }, { "SERVER_SOFTWARE", "nginx/1.22.1" },
		{ "REMOTE_ADDR", "127.0.0.1" }, { "REMOTE_PORT", "40000" },
		{ "SERVER_ADDR", "127.0.0.1" }, { "SERVER_PORT", "8080" },
		{ "SERVER_NAME", "localhost" }, { "HTTP_HOST", "localhost" } };
	unsigned char begin[8] = { 0, 1, job->keep ? 1 : 0 };
	char pairs[600];
	size_t n = 0;

	for (size_t i = 0; i < sizeof(params) / sizeof(params[0]); i++)
		n += (size_t)snprintf(pairs + n, sizeof(pairs) - n, "%c%c%s%s",
			(int)strlen(params[i][0]), (int)strlen(params[i][1]), params[i][0],
			params[i][1]);
	add_record(job, BEGIN_REQUEST, begin, sizeof(begin));
	add_record(job, PARAMS, pairs, n);
	add_record(job, PARAMS, NULL, 0);
	add_record(job, STDIN, NULL, 0);
}

/* The connection */

static int open_connection(const struct job *job)
{
	struct timeval patience = { .tv_sec = PATIENCE };
	int fd = socket(job->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) != 0)
		fail("cannot make a socket: %s", strerror(errno));
	if (connect(fd, (const struct sockaddr *)&job->address, job->address_length) != 0)
		fail("cannot connect: %s", strerror(errno));
	return fd;
}

/* Takes the whole records out of what was received. True: the last was the end of the request. */
static bool take_records(struct client *c)
{
	struct record head;

	while (c->data_length >= sizeof(head)) {
		memcpy(&head, c->data, sizeof(head));
		size_t length = (size_t)head.length_high << 8 | head.length_low;
		size_t whole = sizeof(head) + length + head.padding;

		if (head.version != 1 || head.id_high != 0 || head.id_low != 1)
			fail("what was received is no record of this request");
		if (c->data_length < whole)
			break;
		const char *content = c->data + sizeof(head);
		if (head.kind == END_REQUEST) {
			if (length != 8 || memcmp(content, "\0\0\0\0\0", 5) != 0)
				fail("the request has failed");
			if (c->data_length != whole)
				fail("bytes follow the end of the request");
			return true;
		}
		if (head.kind != STDOUT || c->text_length + length >= sizeof(c->text))
			fail("a record of kind %d with %zu bytes", head.kind, length);
		memcpy(c->text + c->text_length, content, length);
		c->text_length += length;
		memmove(c->data, c->data + whole, c->data_length - whole);
		c->data_length -= whole;
	}
	return false;
}

static void receive(struct client *c, int fd)
{
	do {
		ssize_t n = recv(fd, c->data + c->data_length, sizeof(c->data) - c->data_length, 0);

		if (n <= 0)
			fail("the answer is lost after %zu bytes: %s", c->data_length,
				n == 0 ? "end of file" : strerror(errno));
		c->data_length += (size_t)n;
	} while (!take_records(c));
	/* The server closes; who closes first keeps the port for a minute. */
	if (!c->job->keep && recv(fd, c->data, sizeof(c->data), 0) != 0)
		fail("the connection was not closed after the answer");
}

static uint64_t read_number(struct client *c)
{
	size_t head = sizeof(HEADER) - 1;
	char *end;

	c->text[c->text_length] = '\0';
	uint64_t number = c->text_length > head ? strtoull(c->text + head, &end, 10) : 0;
	if (number == 0 || memcmp(c->text, HEADER, head) != 0 || strcmp(end, "\n") != 0)
		fail("a wrong answer: %s", c->text);
	return number;
}

static void ask(struct client *c, int fd)
{
	const struct job *job = c->job;

	c->data_length = c->text_length = 0;
	if (send(fd, job->request, job->request_length, MSG_NOSIGNAL) !=
		(ssize_t)job->request_length)
		fail("cannot send: %s", strerror(errno));
	receive(c, fd);
	if (c->count == c->room) {
		c->room = c->room == 0 ? 4096 : c->room * 2;
		c->numbers = reallocarray(c->numbers, c->room, sizeof(*c->numbers));
		if (c->numbers == NULL)
			fail("out of memory");
	}
	c->numbers[c->count++] = read_number(c);
}

static void *run_client(void *arg)
{
	struct client *c = arg;
	int fd = c->job->keep ? open_connection(c->job) : -1;

	while (now_ns() < c->job->until) {
		if (!c->job->keep)
			fd = open_connection(c->job);
		ask(c, fd);
		if (!c->job->keep)
			close(fd);
	}
	if (c->job->keep)
		close(fd);
	return NULL;
}

/* The whole */

static void set_address(struct job *job, const char *text)
{
	struct sockaddr_un *un = (struct sockaddr_un *)&job->address;
	const struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
		.ai_socktype = SOCK_STREAM };
	const char *colon = strrchr(text, ':');
	struct addrinfo *found;
	char host[64];

	if (text[0] == '/' && strlen(text) < sizeof(un->sun_path)) {
		un->sun_family = AF_UNIX;
		memcpy(un->sun_path, text, strlen(text) + 1);
		job->address_length = sizeof(*un);
		return;
	}
	if (colon == NULL || (size_t)(colon - text) >= sizeof(host))
		fail("%s is no address", text);
	snprintf(host, sizeof(host), "%.*s", (int)(colon - text), text);
	if (getaddrinfo(host, colon + 1, &hints, &found) != 0)
		fail("%s is no address", text);
	memcpy(&job->address, found->ai_addr, found->ai_addrlen);
	job->address_length = found->ai_addrlen;
	freeaddrinfo(found);
}

static int number_option(const char *text, int max)
{
	char *end;
	long number = strtol(text, &end, 10);

	if (*text == '\0' || *end != '\0' || number < 1 || number > max)
		fail("%s is no number from 1 to %d", text, max);
	return (int)number;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void report(struct client *clients, int count, double seconds)
{
	size_t total = 0, n = 0;

	for (int i = 0; i < count; i++)
		total += clients[i].count;
	uint64_t *numbers = calloc(total + 1, sizeof(*numbers));
	if (numbers == NULL || total == 0)
		fail("no answer within the time");
	for (int i = 0; i < count; i++) {
		if (clients[i].count > 0)
			memcpy(numbers + n, clients[i].numbers,
				clients[i].count * sizeof(*numbers));
		n += clients[i].count;
		free(clients[i].numbers);
	}
	qsort(numbers, total, sizeof(*numbers), by_value);
	for (size_t i = 1; i < total; i++)
		if (numbers[i] != numbers[0] + i)
			fail("%" PRIu64 " came twice, or one before it never", numbers[i]);
	printf("%.0f %zu %" PRIu64 " %" PRIu64 "\n", (double)total / seconds, total, numbers[0],
		numbers[total - 1]);
	free(numbers);
}

int main(int argc, char **argv)
{
	static struct job job = { .clients = 16 };
	int opt, ms = 1000;

	while ((opt = getopt(argc, argv, "kc:t:")) != -1) {
		if (opt == 'k')
			job.keep = true;
		else if (opt == 'c')
			job.clients = number_option(optarg, CLIENTS_MAX);
		else if (opt == 't')
			ms = number_option(optarg, 600000);
		else
			return EXIT_FAILURE;
	}
	if (optind != argc - 1)
		fail("usage: fcgiload [-k] [-c CLIENTS] [-t MILLISECONDS] /PATH | HOST:PORT");
	set_address(&job, argv[optind]);
	make_request(&job);
	struct client *clients = calloc((size_t)job.clients, sizeof(*clients));
	if (clients == NULL)
		fail("out of memory");
	uint64_t begin = now_ns();
	job.until = begin + (uint64_t)ms * 1000000;
	for (int i = 0; i < job.clients; i++) {
		clients[i].job = &job;
		if (pthread_create(&clients[i].thread, NULL, run_client, &clients[i]) != 0)
			fail("cannot make a thread");
	}
	for (int i = 0; i < job.clients; i++)
		pthread_join(clients[i].thread, NULL);
	report(clients, job.clients, (double)(now_ns() - begin) / 1e9);
	free(clients);
	return EXIT_SUCCESS;
}
