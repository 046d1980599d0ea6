/*
 * limit: the least that a pre-forked FastCGI counter can cost, to compare with.
 *
 *	limit WORKERS
 *
 * The listening socket is descriptor 0. Each worker does accept4, read, write and close, one after
 * the other, and nothing else: it takes what comes for a whole request, has no limits, no patience
 * and no check. A connection that its client wants to keep has the worker for itself. The parent
 * replaces who dies; SIGTERM ends all.
 */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define HEADER 8
#define TEXT "Content-Type: text/plain\r\n\r\n"

static _Atomic uint64_t *counter;

static size_t put_header(unsigned char *out, unsigned type, size_t length)
{
	const unsigned char head[HEADER] = { 1, (unsigned char)type, 0, 1,
		(unsigned char)(length >> 8), (unsigned char)length, 0, 0 };

	memcpy(out, head, sizeof(head));
	return sizeof(head);
}

static size_t make_answer(unsigned char *out, size_t size)
{
	uint64_t number = atomic_fetch_add_explicit(counter, 1, memory_order_relaxed) + 1;
	int text = snprintf(
		(char *)out + HEADER, size - HEADER, TEXT "%llu\n", (unsigned long long)number);
	size_t n = put_header(out, 6, (size_t)text) + (size_t)text;

	n += put_header(out + n, 6, 0);
	n += put_header(out + n, 3, 8);
	memset(out + n, 0, 8);
	return n + 8;
}

static void __attribute__((noreturn)) work(void)
{
	unsigned char bytes[65536], answer[256];

	for (;;) {
		int fd = accept4(0, NULL, NULL, SOCK_CLOEXEC);

		if (fd < 0)
			continue;
		/* The third byte of the body of FCGI_BEGIN_REQUEST: is it to be kept? */
		for (bytes[HEADER + 2] = 1; bytes[HEADER + 2] != 0;) {
			if (read(fd, bytes, sizeof(bytes)) <= 0)
				break;
			size_t n = make_answer(answer, sizeof(answer));
			if (write(fd, answer, n) != (ssize_t)n)
				break;
		}
		close(fd);
	}
}

static void start_worker(void)
{
	pid_t pid = fork();

	if (pid > 0)
		return;
	if (pid < 0)
		exit(EXIT_FAILURE);
	signal(SIGTERM, SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	work();
}

static void on_term(int signo)
{
	(void)signo;
	signal(SIGTERM, SIG_IGN);
	kill(0, SIGTERM);
	while (wait(NULL) > 0 || errno == EINTR)
		;
	_exit(EXIT_SUCCESS);
}

int main(int argc, char **argv)
{
	long workers = argc == 2 ? strtol(argv[1], NULL, 10) : 0;

	counter = mmap(
		NULL, sizeof(*counter), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (workers < 1 || counter == MAP_FAILED)
		return EXIT_FAILURE;
	if (getpgid(0) != getpid() && setpgid(0, 0) != 0)
		return EXIT_FAILURE;
	signal(SIGTERM, on_term);
	for (long i = 0; i < workers; i++)
		start_worker();
	while (wait(NULL) > 0)
		start_worker();
	return EXIT_FAILURE;
}
