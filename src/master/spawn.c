/*
 * spawn: the one fork of workers.
 *
 * All signals are blocked around fork: the master's handlers write into the master's own pipes, and
 * must not run in a child that still has them.
 */
#include "master/spawn.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void reset_signals(void)
{
	struct sigaction act = { .sa_handler = SIG_DFL };
	sigset_t none;

	for (int s = 1; s < NSIG; s++)
		sigaction(s, &act, NULL); /* fails for KILL and STOP, and those of the C library */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

pid_t spawn(job_body body, const struct job *job)
{
	sigset_t all, before;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	pid_t pid = fork();
	if (pid == 0) {
		setpgid(0, 0);
		reset_signals();
		body(job);
	}
	if (pid > 0)
		setpgid(pid, pid); /* both sides, so that neither has to wait for the other */
	sigprocmask(SIG_SETMASK, &before, NULL);
	return pid;
}

char *spawn_status_text(int status, char *out, size_t size)
{
	if (WIFEXITED(status)) {
		snprintf(out, size, "exited with code %d", WEXITSTATUS(status));
	} else if (WIFSIGNALED(status)) {
		const char *name = sigabbrev_np(WTERMSIG(status));
		char number[24];

		if (name == NULL) {
			snprintf(number, sizeof(number), "%d", WTERMSIG(status));
			name = number;
		}
		snprintf(out, size, "killed by %s%s%s", name == number ? "signal " : "SIG", name,
			WCOREDUMP(status) ? " (core dumped)" : "");
	} else {
		snprintf(out, size, "ended with wait status %#x", (unsigned)status);
	}
	return out;
}
