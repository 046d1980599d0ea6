/*
 * forks: how long it takes to have so many workers, if nothing else is done than what must be.
 *
 *	forks [-g] WORKERS
 *
 * Without -g they are forked and wait in accept. With -g each is given what one of preforkd has (a
 * page of its own, a pipe for its output, one to say that it is ready), does the system calls that
 *a worker does before its first request, in the same order, and waits with epoll; that needs root.
 * Linked with preforkd's libraries it shows what these cost a fork. Prints one line of JSON, in ms:
 * until all were forked, until all were ready, until all were gone, and the processor time of all.
 */
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096
#define NOBODY 65534

struct gift {
	int listener, lifeline, shared, page, start, output;
};

static void __attribute__((noreturn)) fail(const char *what)
{
	perror(what);
	exit(EXIT_FAILURE);
}

static double now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static double cpu_ms(int who)
{
	struct rusage u;

	getrusage(who, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e3 +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e3;
}

static int open_listener(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	/* Without a name it gets one that nobody has. */
	if (fd < 0 ||
		bind(fd, &(struct sockaddr){ .sa_family = AF_UNIX }, sizeof(sa_family_t)) != 0 ||
		listen(fd, 4096) != 0)
		fail("listener");
	return fd;
}

static int make_page(void)
{
	int fd = memfd_create("forks", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, PAGE) != 0 ||
		fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0)
		fail("memfd");
	return fd;
}

static void arrange_descriptors(struct gift *g)
{
	const int to[] = { 3, 4, 5, 6, 7 };
	int *fds[] = { &g->listener, &g->lifeline, &g->shared, &g->page, &g->start };

	dup2(g->output, 1);
	dup2(g->output, 2);
	for (int i = 0; i < 5; i++) /* each is above its place, for they came in this order */
		if (*fds[i] != to[i])
			*fds[i] = dup2(*fds[i], to[i]);
	close_range(8, ~0u, 0);
}

static void drop_privileges(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { 0 };
	const gid_t group = NOBODY;
	uid_t u[3];
	gid_t g[3];

	syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
	if (setgroups(1, &group) != 0 || setresgid(group, group, group) != 0 ||
		setresuid(NOBODY, NOBODY, NOBODY) != 0)
		_exit(EXIT_FAILURE);
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	syscall(SYS_capset, &head, none);
	getresuid(&u[0], &u[1], &u[2]);
	getresgid(&g[0], &g[1], &g[2]);
	if (setuid(0) == 0 || seteuid(0) == 0)
		_exit(EXIT_FAILURE);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

static void __attribute__((noreturn)) work_given(struct gift g)
{
	const struct rlimit files = { 1024, 1024 }, core = { 0, 0 };
	struct epoll_event event = { .events = EPOLLIN };
	sigset_t leave;

	setpgid(0, 0);
	for (int s = 1; s < NSIG; s++)
		signal(s, SIG_DFL);
	arrange_descriptors(&g);
	char *shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, g.shared, 0);
	char *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, g.page, 0);
	close(g.shared);
	close(g.page);
	umask(022);
	setrlimit(RLIMIT_NOFILE, &files);
	setrlimit(RLIMIT_CORE, &core);
	drop_privileges();
	if (shared == MAP_FAILED || page == MAP_FAILED || chdir("/") != 0)
		_exit(EXIT_FAILURE);
	page[0] = 1;
	sigemptyset(&leave);
	sigaddset(&leave, SIGTERM);
	sigprocmask(SIG_BLOCK, &leave, NULL);
	int set = epoll_create1(EPOLL_CLOEXEC);
	epoll_ctl(set, EPOLL_CTL_ADD, signalfd(-1, &leave, SFD_CLOEXEC | SFD_NONBLOCK), &event);
	epoll_ctl(set, EPOLL_CTL_ADD, g.lifeline, &event);
	event.events |= EPOLLEXCLUSIVE;
	epoll_ctl(set, EPOLL_CTL_ADD, g.listener, &event);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)!write(g.start, "R", 1);
	close(g.start);
	epoll_wait(set, &event, 1, -1);
	_exit(EXIT_SUCCESS);
}

static void __attribute__((noreturn)) work(const struct gift *g)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)!write(g->start, "R", 1);
	for (;;)
		accept4(g->listener, NULL, NULL, SOCK_CLOEXEC);
}

/* Descriptors that are closed here stay with the parent as long as preforkd's do. */
static pid_t start_one(struct gift *g, bool given, int *ready)
{
	int start[2], output[2];

	if (given) {
		g->page = make_page();
		if (pipe2(start, O_CLOEXEC) != 0 || pipe2(output, O_CLOEXEC) != 0)
			fail("pipe");
		g->start = start[1];
		g->output = output[1];
		*ready = start[0];
	}
	pid_t pid = fork();
	if (pid == 0 && given)
		work_given(*g);
	if (pid == 0)
		work(g);
	if (pid < 0)
		fail("fork");
	if (given) {
		setpgid(pid, pid);
		close(start[1]);
		close(output[1]);
	}
	return pid;
}

int main(int argc, char **argv)
{
	bool given = argc == 3 && strcmp(argv[1], "-g") == 0;
	int workers = argc > 1 ? atoi(argv[argc - 1]) : 0, life[2], start[2];
	struct rlimit files = { 20000, 20000 };
	char byte;

	if (workers < 1 || setrlimit(RLIMIT_NOFILE, &files) != 0)
		fail("usage: forks [-g] WORKERS");
	pid_t *pids = calloc((size_t)workers, sizeof(*pids));
	int *ready = calloc((size_t)workers, sizeof(*ready));
	if (pids == NULL || ready == NULL || pipe2(start, O_CLOEXEC) != 0)
		fail("out of memory");
	struct gift gift = { .listener = open_listener(), .start = start[1] };
	if (pipe2(life, O_CLOEXEC) != 0)
		fail("pipe");
	gift.lifeline = life[0];
	gift.shared = make_page();
	double begin = now_ms();
	for (int i = 0; i < workers; i++) {
		ready[i] = start[0];
		pids[i] = start_one(&gift, given, &ready[i]);
	}
	double forked = now_ms() - begin;
	for (int i = 0; i < workers; i++)
		if (read(ready[i], &byte, 1) != 1)
			fail("a worker is not ready");
	double all = now_ms() - begin;
	begin = now_ms();
	for (int i = 0; i < workers; i++)
		kill(pids[i], SIGTERM);
	while (wait(NULL) > 0)
		;
	printf("{\"forked\": %.1f, \"ready\": %.1f, \"stopped\": %.1f, \"cpu\": %.1f}\n", forked,
		all, now_ms() - begin, cpu_ms(RUSAGE_SELF) + cpu_ms(RUSAGE_CHILDREN));
	free(pids);
	free(ready);
	return EXIT_SUCCESS;
}
