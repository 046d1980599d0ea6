/*
 * trace: the only room that knows ptrace(2) and the registers of a machine.
 */
#include "master/trace.h"

#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

#include "master/look.h"

/* The kernel's own errors of calls that a signal has interrupted; a tracer sees them. */
#define ERESTARTSYS 512
#define ERESTART_RESTARTBLOCK 516

#define CALL_STOP (SIGTRAP | 0x80) /* PTRACE_O_TRACESYSGOOD */

/* A poll that our interrupt has ended comes back as restart_syscall. */
static bool is_wait(uint64_t number)
{
	return look_is_accept((long)number) || look_is_poll((long)number) ||
	       number == SYS_restart_syscall;
}

/* skip_call: at its beginning, makes a call one that does not exist and so is not restarted either.
 * return_error: at its end. */
#if defined(__x86_64__)
#define TRACE_KNOWN 1

static int skip_call(pid_t pid)
{
	return (int)ptrace(PTRACE_POKEUSER, pid, offsetof(struct user_regs_struct, orig_rax), -1L);
}

static int return_error(pid_t pid, int error)
{
	return (int)ptrace(
		PTRACE_POKEUSER, pid, offsetof(struct user_regs_struct, rax), (long)-error);
}
#elif defined(__aarch64__)
#define TRACE_KNOWN 1

static int skip_call(pid_t pid)
{
	int none = -1;
	struct iovec iov = { &none, sizeof(none) };

	return (int)ptrace(PTRACE_SETREGSET, pid, NT_ARM_SYSTEM_CALL, &iov);
}

static int return_error(pid_t pid, int error)
{
	struct user_regs_struct regs;
	struct iovec iov = { &regs, sizeof(regs) };

	if (ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &iov) != 0)
		return -1;
	regs.regs[0] = (unsigned long long)-error;
	return (int)ptrace(PTRACE_SETREGSET, pid, NT_PRSTATUS, &iov);
}
#else
#define TRACE_KNOWN 0

static int skip_call(pid_t pid)
{
	(void)pid;
	return -1;
}

static int return_error(pid_t pid, int error)
{
	(void)pid, (void)error;
	return -1;
}
#endif

int trace_begin(struct trace *t, pid_t pid, int stop_signal)
{
	*t = (struct trace){ .pid = pid, .stop_signal = stop_signal };
	if (!TRACE_KNOWN) {
		errno = ENOSYS;
		return -1;
	}
	if (ptrace(PTRACE_SEIZE, pid, NULL, PTRACE_O_TRACESYSGOOD) != 0)
		return -1;
	return ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) == 0 || errno == ESRCH ? 0 : -1;
}

void trace_hurry(struct trace *t)
{
	if (t->haste == TRACE_NOWHERE)
		t->haste = TRACE_BLOCKED;
	ptrace(PTRACE_INTERRUPT, t->pid, NULL, NULL);
}

static enum trace_news resume(const struct trace *t, int request, int signo)
{
	/* ESRCH: it was killed meanwhile, and its death is on the way. */
	if (ptrace(request, t->pid, NULL, (long)signo) == 0 || errno == ESRCH)
		return TRACE_GOES_ON;
	ptrace(PTRACE_DETACH, t->pid, NULL, NULL);
	return TRACE_FAILED;
}

static enum trace_news let_go(const struct trace *t)
{
	kill(t->pid, t->stop_signal);
	ptrace(PTRACE_DETACH, t->pid, NULL, NULL);
	return TRACE_CAUGHT;
}

/* One that serves several connections at once takes no more, and is caught when it has answered the
 * last: to it the connection was gone before it could be accepted. */
static void at_wait(struct trace *t, uint64_t number, bool holding)
{
	if (holding && !look_is_accept((long)number))
		return;
	if (skip_call(t->pid) == 0)
		t->error = holding ? EAGAIN : EINTR;
}

static enum trace_news at_end_of_call(struct trace *t)
{
	int error = t->error;

	t->error = 0;
	if (error == 0)
		return resume(t, PTRACE_SYSCALL, 0);
	return_error(t->pid, error); /* it can only fail where the process has been killed */
	return error == EINTR ? let_go(t) : resume(t, PTRACE_SYSCALL, 0);
}

/* The interrupt ends the call that it was blocked in. A program that runs could be on its way to
 * accept, and its handler may only set a flag: it is not told there. */
static bool was_blocked(const struct __ptrace_syscall_info *call)
{
	int64_t error = call->op == PTRACE_SYSCALL_INFO_EXIT ? -call->exit.rval : 0;

	return error == EINTR || (error >= ERESTARTSYS && error <= ERESTART_RESTARTBLOCK);
}

static bool may_be_told(struct trace *t, const struct __ptrace_syscall_info *call)
{
	enum trace_haste haste = t->haste;

	t->haste = TRACE_NOWHERE;
	return t->error == 0 &&
	       (haste == TRACE_ANYWHERE || (haste == TRACE_BLOCKED && was_blocked(call)));
}

enum trace_news trace_stopped(
	struct trace *t, int status, bool (*holds)(pid_t pid, const void *arg), const void *arg)
{
	struct __ptrace_syscall_info call = { 0 };
	int signo = WSTOPSIG(status);
	bool interrupted = status >> 16 == PTRACE_EVENT_STOP;

	if (interrupted && signo != SIGTRAP)
		return resume(t, PTRACE_LISTEN, 0); /* somebody has stopped it */
	if (!interrupted && signo != CALL_STOP)
		return resume(t, PTRACE_SYSCALL, signo); /* a signal for the program */
	if (ptrace(PTRACE_GET_SYSCALL_INFO, t->pid, sizeof(call), &call) <= 0)
		return resume(t, PTRACE_SYSCALL, 0);
	if (may_be_told(t, &call) && !holds(t->pid, arg))
		return let_go(t);
	if (call.op == PTRACE_SYSCALL_INFO_EXIT)
		return at_end_of_call(t);
	if (call.op == PTRACE_SYSCALL_INFO_ENTRY && is_wait(call.entry.nr))
		at_wait(t, call.entry.nr, holds(t->pid, arg));
	return resume(t, PTRACE_SYSCALL, 0);
}
