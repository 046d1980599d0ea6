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
	if (kill(-pid, SIGKILL) != 0)
		kill(pid, SIGKILL); /* it has not got its process group yet, or has left it */
}

void retire_leftovers(pid_t pid, int stop_signal)
{
	kill(-pid, stop_signal);
}
