/*
 * fcgiload: asks a counter over FastCGI, or over HTTP, as fast as it can, and checks every answer.
 *
 *	fcgiload [-klr] [-c CLIENTS] [-t MILLISECONDS] [-s SCRIPT | -u PATH] /SOCKET | HOST:PORT
 *
 * Each client is a thread with one connection at a time: one for each request, or with -k one for
 * all. With -u it speaks HTTP. Nobody else may ask meanwhile: all numbers from the first to the
 *last must come, each once, of the server or of each of its processes. A lost, cut or wrong answer
 *ends everything with 1 and a sentence; with -r, for a server that is stopped meanwhile, a client
 *ends when it is refused, and what was lost is counted. -l, for one that answers others too, checks
 *each answer alone.
 *
 * Prints one line of JSON. Times are in microseconds, from the connect or the first byte sent, to
 * the end of the answer. "served" is how many clients got an answer within the time.
 */
#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "answer.h"

#define CLIENTS_MAX 1000
#define PATIENCE 20 /* seconds without a byte: the answer is lost */

struct job {
	struct sockaddr_storage address;
	socklen_t address_length;
	enum answer_kind kind;
	int clients;
	bool keep, tolerant, loose;
	uint64_t until; /* ns of the monotonic clock */
	const char *target;
	char request[1024];
	size_t request_length;
};

struct result {
	uint64_t pid, number;
	uint32_t us;
};

struct client {
	const struct job *job;
	pthread_t thread;
	struct result *results; /* all that it was given */
	size_t count, room;
	bool served;
	unsigned lost;
	struct answer answer;
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

/* The connection */

/* -1: refused, which only a server that is being stopped may do. */
static int open_connection(struct client *c)
{
	const struct job *job = c->job;
	struct timeval patience = { .tv_sec = PATIENCE };
	int fd = socket(job->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) != 0)
		fail("cannot make a socket: %s", strerror(errno));
	if (connect(fd, (const struct sockaddr *)&job->address, job->address_length) == 0)
		return fd;
	if (!job->tolerant)
		fail("cannot connect: %s", strerror(errno));
	/* TCP says no to some that it had let into the queue before. */
	if (errno != ECONNREFUSED && errno != ENOENT)
		c->lost++;
	close(fd);
	return -1;
}

static bool lose(struct client *c, const char *what, const char *why)
{
	if (!c->job->tolerant)
		fail("%s: %s", what, why);
	c->lost++;
	return false;
}

static bool receive(struct client *c, int fd)
{
	struct answer *a = &c->answer;
	enum answer_state state = ANSWER_MORE;

	while (state == ANSWER_MORE) {
		ssize_t n = recv(fd, a->data + a->data_length, ANSWER_MAX - a->data_length, 0);

		if (n <= 0)
			return lose(
				c, "the answer is lost", n == 0 ? "end of file" : strerror(errno));
		a->data_length += (size_t)n;
		state = answer_read(a);
	}
	return state == ANSWER_WHOLE || lose(c, "the answer is wrong", a->why);
}

static void note(struct client *c, uint64_t begin)
{
	uint64_t now = now_ns();

	if (c->count == c->room) {
		c->room = c->room == 0 ? 4096 : c->room * 2;
		c->results = reallocarray(c->results, c->room, sizeof(*c->results));
		if (c->results == NULL)
			fail("out of memory");
	}
	c->results[c->count++] = (struct result){ .pid = c->answer.pid,
		.number = c->answer.number,
		.us = (uint32_t)((now - begin) / 1000) };
	c->served = c->served || now < c->job->until;
}

/* begin: when it has begun to connect. False: the connection is no good any more. */
static bool ask(struct client *c, int fd, uint64_t begin)
{
	const struct job *job = c->job;

	answer_clear(&c->answer);
	if (send(fd, job->request, job->request_length, MSG_NOSIGNAL) !=
		(ssize_t)job->request_length)
		return lose(c, "cannot send", strerror(errno));
	if (!receive(c, fd))
		return false;
	note(c, begin);
	/* The server closes; who closes first keeps the port for a minute. */
	if (!job->keep && recv(fd, c->answer.data, 1, 0) != 0)
		return lose(c, "the connection was not closed after the answer", strerror(errno));
	return true;
}

/* Asks once at least. */
static void *run_client(void *arg)
{
	struct client *c = arg;
	int fd = -1;

	c->answer.kind = c->job->kind;
	do {
		uint64_t begin = now_ns();

		if (fd < 0 && (fd = open_connection(c)) < 0)
			break;
		if (!ask(c, fd, begin) || !c->job->keep) {
			close(fd);
			fd = -1;
		}
	} while (now_ns() < c->job->until);
	if (fd >= 0)
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

static int by_number(const void *a, const void *b)
{
	const struct result *x = a, *y = b;

	if (x->pid != y->pid)
		return x->pid < y->pid ? -1 : 1;
	return (x->number > y->number) - (x->number < y->number);
}

static int by_time(const void *a, const void *b)
{
	const struct result *x = a, *y = b;

	return (x->us > y->us) - (x->us < y->us);
}

static void check_numbers(const struct result *results, size_t total)
{
	for (size_t i = 1; i < total; i++)
		if (results[i].pid == results[i - 1].pid &&
			results[i].number != results[i - 1].number + 1)
			fail("%" PRIu64 " came twice, or one before it never", results[i].number);
}

static struct result *gather(struct client *clients, int count, size_t *total)
{
	size_t n = 0;

	*total = 0;
	for (int i = 0; i < count; i++)
		*total += clients[i].count;
	struct result *all = calloc(*total + 1, sizeof(*all));
	if (all == NULL || *total == 0)
		fail("no answer within the time");
	for (int i = 0; i < count; i++) {
		if (clients[i].count > 0)
			memcpy(all + n, clients[i].results, clients[i].count * sizeof(*all));
		n += clients[i].count;
		free(clients[i].results);
	}
	return all;
}

static void report(const struct job *job, struct client *clients, double seconds)
{
	size_t total;
	struct result *all = gather(clients, job->clients, &total);
	int served = 0;
	unsigned lost = 0;

	for (int i = 0; i < job->clients; i++) {
		served += clients[i].served;
		lost += clients[i].lost;
	}
	qsort(all, total, sizeof(*all), by_number);
	if (!job->loose && lost == 0)
		check_numbers(all, total);
	uint64_t first = all[0].number, last = all[total - 1].number;
	qsort(all, total, sizeof(*all), by_time);
	printf("{\"requests\": %zu, \"seconds\": %.6f, \"served\": %d, \"lost\": %u, "
	       "\"first\": %" PRIu64 ", \"last\": %" PRIu64 ", "
	       "\"p50\": %" PRIu32 ", \"p99\": %" PRIu32 ", \"max\": %" PRIu32 "}\n",
		total, seconds, served, lost, first, last, all[total / 2].us,
		all[total * 99 / 100].us, all[total - 1].us);
	free(all);
}

static int read_options(int argc, char **argv, struct job *job)
{
	int opt, ms = 1000;

	while ((opt = getopt(argc, argv, "klrc:t:s:u:")) != -1) {
		if (opt == 'k')
			job->keep = true;
		else if (opt == 'l')
			job->loose = true;
		else if (opt == 'r')
			job->tolerant = true;
		else if (opt == 'c')
			job->clients = number_option(optarg, CLIENTS_MAX);
		else if (opt == 't')
			ms = number_option(optarg, 600000);
		else if (opt == 's' || opt == 'u')
			job->target = optarg;
		else
			exit(EXIT_FAILURE);
		if (opt == 'u')
			job->kind = ANSWER_HTTP;
	}
	if (optind != argc - 1)
		fail("usage: fcgiload [-klr] [-c CLIENTS] [-t MILLISECONDS] "
		     "[-s SCRIPT | -u PATH] /SOCKET | HOST:PORT");
	set_address(job, argv[optind]);
	job->request_length = answer_request(
		job->kind, job->target, job->keep, job->request, sizeof(job->request));
	return ms;
}

int main(int argc, char **argv)
{
	static struct job job = { .clients = 16, .target = "/" };
	int ms = read_options(argc, argv, &job);
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
	report(&job, clients, (double)(now_ns() - begin) / 1e9);
	free(clients);
	return EXIT_SUCCESS;
}
