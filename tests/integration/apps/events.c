/* A FastCGI program with an event loop: several connections at once in one process, no libfcgi; the
 * parameter SLEEP_MS delays an answer. On TERM it closes its listener, answers what it has and
 * goes, as such programs do. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* accept4 */
#endif
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define HEADER 8
#define CONNECTIONS 1024

struct connection {
	unsigned char *in; /* everything that came */
	size_t in_used, in_room;
	unsigned char *out;
	size_t out_used, out_sent;
	long long due; /* ms; when the answer goes out, 0: it may */
};

static struct connection *connections[CONNECTIONS];
static volatile sig_atomic_t leaving;

static void on_term(int signo)
{
	(void)signo;
	leaving = 1;
}

static long long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* Good enough for a test: the value follows the name. */
static long long delay_of(const unsigned char *params, size_t length)
{
	static const char name[] = "SLEEP_MS";
	const unsigned char *at = memmem(params, length, name, sizeof(name) - 1);
	char value[12] = "";

	if (at == NULL || at[-1] > 10)
		return 0;
	memcpy(value, at + sizeof(name) - 1, at[-1]);
	return atoll(value);
}

static void append(struct connection *c, int type, const unsigned char *bytes, size_t length)
{
	unsigned char header[HEADER] = { 1, (unsigned char)type, 0, 1, (unsigned char)(length >> 8),
		(unsigned char)length };

	memcpy(c->out + c->out_used, header, HEADER);
	memcpy(c->out + c->out_used + HEADER, bytes, length);
	c->out_used += HEADER + length;
}

/* The whole request is there when an empty STDIN has come; the body is copied to STDOUT. */
static int answer(struct connection *c)
{
	static const char head[] = "Content-Type: text/plain\r\n\r\n";
	static const unsigned char end[HEADER];
	long long delay = 0;

	c->out = malloc(c->in_used * 2 + 4096);
	if (c->out == NULL)
		abort();
	append(c, 6, (const unsigned char *)head, sizeof(head) - 1);
	for (size_t at = 0; at + HEADER <= c->in_used;) {
		size_t length = (size_t)c->in[at + 4] << 8 | c->in[at + 5], next;

		next = at + HEADER + length + c->in[at + 6];
		if (next > c->in_used)
			break;
		if (c->in[at + 1] == 5 && length == 0) {
			append(c, 3, end, sizeof(end));
			c->due = delay > 0 ? now_ms() + delay : 0;
			return 1;
		}
		if (c->in[at + 1] == 4 && length > 0)
			delay = delay_of(c->in + at + HEADER, length);
		if (c->in[at + 1] == 5)
			append(c, 6, c->in + at + HEADER, length);
		at = next;
	}
	free(c->out);
	c->out = NULL;
	c->out_used = 0;
	return 0;
}

static void drop(int fd)
{
	struct connection *c = connections[fd];

	connections[fd] = NULL;
	free(c->in);
	free(c->out);
	free(c);
	close(fd);
}

static void take_in(int epoll, int fd)
{
	struct connection *c = connections[fd];

	if (c->in_used == c->in_room) {
		c->in_room = c->in_room * 2 + 65536;
		c->in = realloc(c->in, c->in_room);
		if (c->in == NULL)
			abort();
	}
	ssize_t n = read(fd, c->in + c->in_used, c->in_room - c->in_used);
	if (n <= 0) {
		if (n == 0 || (errno != EAGAIN && errno != EINTR))
			drop(fd);
		return;
	}
	c->in_used += (size_t)n;
	if (answer(c)) {
		struct epoll_event event = { .events = c->due > 0 ? 0 : EPOLLOUT, .data.fd = fd };

		epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event);
	}
}

static void put_out(int fd)
{
	struct connection *c = connections[fd];
	ssize_t n = write(fd, c->out + c->out_sent, c->out_used - c->out_sent);

	if (n > 0)
		c->out_sent += (size_t)n;
	if (c->out_sent == c->out_used || (n < 0 && errno != EAGAIN && errno != EINTR))
		drop(fd);
}

static void take_new(int epoll)
{
	int fd = accept4(0, NULL, NULL, SOCK_NONBLOCK);
	struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

	if (fd < 0)
		return;
	if (fd >= CONNECTIONS || (connections[fd] = calloc(1, sizeof(struct connection))) == NULL)
		abort();
	epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

/* Lets go out what is due. Returns how long epoll_wait may take. */
static int look_at_clock(int epoll)
{
	long long now = now_ms(), next = -1;

	for (int fd = 0; fd < CONNECTIONS; fd++) {
		struct epoll_event event = { .events = EPOLLOUT, .data.fd = fd };

		if (connections[fd] == NULL || connections[fd]->due == 0)
			continue;
		if (connections[fd]->due <= now) {
			connections[fd]->due = 0;
			epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event);
		} else if (next < 0 || connections[fd]->due - now < next) {
			next = connections[fd]->due - now;
		}
	}
	return (int)next;
}

static int has_connections(void)
{
	for (int fd = 0; fd < CONNECTIONS; fd++)
		if (connections[fd] != NULL)
			return 1;
	return 0;
}

int main(void)
{
	struct epoll_event event = { .events = EPOLLIN, .data.fd = 0 }, events[16];
	struct sigaction term = { .sa_handler = on_term, .sa_flags = SA_RESTART };
	int epoll = epoll_create1(0);

	sigaction(SIGTERM, &term, NULL);
	signal(SIGPIPE, SIG_IGN);
	fcntl(0, F_SETFL, fcntl(0, F_GETFL) | O_NONBLOCK);
	epoll_ctl(epoll, EPOLL_CTL_ADD, 0, &event);
	while (!leaving || has_connections()) {
		int n = epoll_wait(epoll, events, 16, look_at_clock(epoll));

		if (leaving)
			epoll_ctl(epoll, EPOLL_CTL_DEL, 0, NULL);
		for (int i = 0; i < n; i++) {
			if (events[i].data.fd == 0)
				take_new(epoll);
			else if (events[i].events & EPOLLOUT)
				put_out(events[i].data.fd);
			else
				take_in(epoll, events[i].data.fd);
		}
	}
	return 0;
}
