/*
 * tracee: errors of ptrace(2) on a thread that has been seized are not looked at: it was killed
 * meanwhile, and its death is on the way.
 */
#include "master/tracee.h"

#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

#define CALL_STOP (SIGTRAP | 0x80) /* PTRACE_O_TRACESYSGOOD */

#if defined(__x86_64__)
#define TRACEE_KNOWN 1

int tracee_skip_call(pid_t tid)
{
	return (int)ptrace(PTRACE_POKEUSER, tid, offsetof(struct user_regs_struct, orig_rax), -1L);
}

void tracee_return_error(pid_t tid, int error)
{
	ptrace(PTRACE_POKEUSER, tid, offsetof(struct user_regs_struct, rax), (long)-error);
}
#elif defined(__aarch64__)
#define TRACEE_KNOWN 1

int tracee_skip_call(pid_t tid)
{
	int none = -1;
	struct iovec iov = { &none, sizeof(none) };

	return (int)ptrace(PTRACE_SETREGSET, tid, NT_ARM_SYSTEM_CALL, &iov);
}

void tracee_return_error(pid_t tid, int error)
{
	struct user_regs_struct regs;
	struct iovec iov = { &regs, sizeof(regs) };

	if (ptrace(PTRACE_GETREGSET, tid, NT_PRSTATUS, &iov) != 0)
		return;
	regs.regs[0] = (unsigned long long)-error;
	ptrace(PTRACE_SETREGSET, tid, NT_PRSTATUS, &iov);
}
#else
#define TRACEE_KNOWN 0

int tracee_skip_call(pid_t tid)
{
	(void)tid;
	return -1;
}

void tracee_return_error(pid_t tid, int error)
{
	(void)tid, (void)error;
}
#endif

int tracee_seize(pid_t tid)
{
	long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE;

	if (!TRACEE_KNOWN) {
		errno = ENOSYS;
		return -1;
	}
	if (ptrace(PTRACE_SEIZE, tid, NULL, options) != 0)
		return -1;
	tracee_interrupt(tid);
	return 0;
}

void tracee_interrupt(pid_t tid)
{
	ptrace(PTRACE_INTERRUPT, tid, NULL, NULL);
}

static void read_call(pid_t tid, struct tracee_stop *stop)
{
	struct __ptrace_syscall_info call = { 0 };

	if (ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof(call), &call) <= 0)
		return;
	if (call.op == PTRACE_SYSCALL_INFO_EXIT) {
		stop->why = TRACEE_EXIT;
	} else if (call.op == PTRACE_SYSCALL_INFO_ENTRY) {
		stop->why = TRACEE_ENTRY;
		stop->call = (long)call.entry.nr;
		stop->fd = (int)call.entry.args[0];
	}
}

void tracee_read(pid_t tid, int status, struct tracee_stop *stop)
{
	int signo = WSTOPSIG(status), event = status >> 16;

	*stop = (struct tracee_stop){ .why = TRACEE_OTHER };
	if (event == PTRACE_EVENT_STOP && signo != SIGTRAP) {
		stop->why = TRACEE_STOPPED;
	} else if (event == 0 && signo == CALL_STOP) {
		read_call(tid, stop);
	} else if (event == 0) {
		stop->why = TRACEE_SIGNAL;
		stop->signo = signo;
	}
}

void tracee_resume(pid_t tid, int signo)
{
	ptrace(PTRACE_SYSCALL, tid, NULL, (long)signo);
}

void tracee_listen(pid_t tid)
{
	ptrace(PTRACE_LISTEN, tid, NULL, NULL);
}

void tracee_detach(pid_t tid, int signo)
{
	ptrace(PTRACE_DETACH, tid, NULL, (long)signo);
}
