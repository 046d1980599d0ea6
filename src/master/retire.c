/*
 * retire: the ladder stop-signal, SIGKILL. When to climb is decided by the deadlines in watch.c.
 */
#include "master/retire.h"

#include <signal.h>

void retire_ask(pid_t pid, int stop_signal)
{
	kill(pid, stop_signal);
	kill(pid, SIGCONT);
}

void retire_kill(pid_t pid)
{
	kill(-pid, SIGKILL);
	kill(pid, SIGKILL); /* it may have left its group, or not have got it yet */
}

void retire_leftovers(pid_t pid, int signo)
{
	kill(-pid, signo);
}
