/* A module for tests that does what it must not: parameter WITH (zeros, ones, counting, random)
 * makes its worker write that over all shared memory it can reach, and send it to every descriptor
 * it has, again and again from a thread of its own, until it ends; CRASH then goes on to the memory
 * that is its own. Every answer begins with X-Pid; SLEEP_MS comes before it. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <preforkd_app.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define MAPS 256
#define DESCRIPTORS 256
#define PAGE 4096u
#define FARTHER (64 * PAGE) /* behind a mapping */
#define ROUNDS 5000         /* a test that failed must not leave it writing for ever */

struct area {
	uintptr_t begin, end;
};

static const char *with;
static char rubbish[FARTHER];

static void fill(void *to, size_t size)
{
	static uint64_t step = 1;
	uint64_t *words = to;

	for (size_t i = 0; i < size / sizeof(*words); i++)
		if (strcmp(with, "zeros") == 0)
			words[i] = 0;
		else if (strcmp(with, "ones") == 0)
			words[i] = UINT64_MAX;
		else if (strcmp(with, "counting") == 0)
			words[i] = step++;
		else
			words[i] = (uint64_t)random() << 40 ^ (uint64_t)random() << 20 ^
				   (uint64_t)random();
}

/* Those that can be written, with these flags. */
static int find_areas(char kind, struct area *areas)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[512], flags[5];
	int n = 0;

	while (maps != NULL && n < MAPS && fgets(line, sizeof(line), maps) != NULL)
		if (sscanf(line, "%lx-%lx %4s", &areas[n].begin, &areas[n].end, flags) == 3 &&
			flags[1] == 'w' && flags[3] == kind)
			n++;
	if (maps != NULL)
		fclose(maps);
	return n;
}

/* Behind the end of a file this is an error, and no SIGBUS. */
static void write_page(void *to)
{
	const struct iovec from = { rubbish, PAGE }, at = { .iov_base = to, .iov_len = PAGE };

	(void)!process_vm_writev(getpid(), &from, 1, &at, 1, 0);
}

/* What stands in the same file before and behind what is mapped: the kernel maps it for who asks.
 */
static void reach_farther(struct area a)
{
	char *more = mremap((void *)a.begin, 0, FARTHER, MREMAP_MAYMOVE); /* a second mapping */

	if (more == MAP_FAILED)
		return;
	for (size_t at = 0; at < FARTHER; at += PAGE)
		write_page(more + at);
	for (size_t page = 0; page < FARTHER / PAGE; page++)
		if (remap_file_pages(more, PAGE, 0, page, 0) == 0)
			write_page(more);
	munmap(more, FARTHER);
}

static void use_descriptor(int fd)
{
	uint64_t most = UINT64_MAX - 1;
	void *map;

	if (fcntl(fd, F_GETFD) < 0)
		return;
	fcntl(fd, F_SETFL, O_NONBLOCK);
	(void)!ftruncate(fd, 0);
	(void)!write(fd, &most, sizeof(most)); /* as much as a bell can ring */
	(void)!write(fd, rubbish, PAGE);
	map = mmap(NULL, sizeof(rubbish), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map != MAP_FAILED)
		munmap(map, sizeof(rubbish));
}

static void scribble(void)
{
	struct area areas[MAPS];
	int n = find_areas('s', areas);

	fill(rubbish, sizeof(rubbish));
	for (int i = 0; i < n; i++)
		fill((void *)areas[i].begin, areas[i].end - areas[i].begin);
	for (int i = 0; i < n; i++)
		reach_farther(areas[i]);
	for (int fd = 0; fd < DESCRIPTORS; fd++)
		use_descriptor(fd);
}

static void *go_on(void *unused)
{
	const struct timespec moment = { 0, 1000000 };

	(void)unused;
	for (int i = 0; i < ROUNDS; i++) {
		scribble();
		nanosleep(&moment, NULL);
	}
	return NULL;
}

static void spoil_itself(void)
{
	struct area areas[MAPS];
	int n = find_areas('p', areas);

	for (int i = 0; i < n; i++)
		fill((void *)areas[i].begin, areas[i].end - areas[i].begin);
	abort();
}

static int handle(FCGX_Request *request)
{
	const char *pattern = FCGX_GetParam("WITH", request->envp);
	const char *ms = FCGX_GetParam("SLEEP_MS", request->envp);
	const struct timespec wait = { 0, ms != NULL ? atoi(ms) % 1000 * 1000000L : 0 };
	pthread_t thread;

	nanosleep(&wait, NULL);
	FCGX_FPrintF(request->out, "Content-Type: text/plain\r\nX-Pid: %d\r\n\r\n", (int)getpid());
	FCGX_PutS(with != NULL ? "hostile" : "honest", request->out);
	if (pattern == NULL || with != NULL)
		return 0;
	FCGX_FFlush(request->out);
	with = strdup(pattern);
	scribble();
	if (FCGX_GetParam("CRASH", request->envp) != NULL)
		spoil_itself();
	pthread_create(&thread, NULL, go_on, NULL);
	return 0;
}

const struct preforkd_app preforkd_app = {
	.abi = PREFORKD_APP_ABI,
	.name = "hostile",
	.handle = handle,
};
