/*
 * children: looks before it reaps. As pid 1 we also get children that we have not forked. Never
 * waits.
 */
#include "master/children.h"

#include <signal.h>
#include <sys/wait.h>

/* As waitpid() would have it. */
static int wait_status(const siginfo_t *child)
{
	switch (child->si_code) {
	case CLD_EXITED:
		return W_EXITCODE(child->si_status, 0);
	case CLD_STOPPED:
	case CLD_TRAPPED:
		return W_STOPCODE(child->si_status);
	case CLD_DUMPED:
		return W_EXITCODE(0, child->si_status) | WCOREFLAG;
	default:
		return W_EXITCODE(0, child->si_status);
	}
}

void children_reap(void (*died)(pid_t pid, int status, void *arg),
	void (*stopped)(pid_t pid, int status, void *arg), void *arg)
{
	const int any = WEXITED | WSTOPPED | WNOHANG;
	siginfo_t child;

	for (;;) {
		child.si_pid = 0;
		if (waitid(P_ALL, 0, &child, any | WNOWAIT) != 0 || child.si_pid == 0)
			return;
		int status = wait_status(&child);
		pid_t pid = child.si_pid;
		if (WIFSTOPPED(status)) {
			/* Taken first: what follows may let it stop again. Not its death. */
			waitid(P_PID, (id_t)pid, &child, WSTOPPED | WNOHANG);
			stopped(pid, status, arg);
			continue;
		}
		died(pid, status, arg);
		waitpid(pid, NULL, 0);
	}
}
