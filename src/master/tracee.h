/*
 * tracee: one traced thread. The only room that knows ptrace(2) and the registers of a machine.
 *
 * Decides nothing and waits for nothing: each stop of the thread arrives as a wait status in the
 * master's loop. If the master dies the kernel lets go of the thread.
 */
#ifndef PREFORKD_TRACEE_H
#define PREFORKD_TRACEE_H

#include <stdbool.h>
#include <sys/types.h>

enum tracee_why {
	TRACEE_ENTRY,   /* it is about to make a system call */
	TRACEE_EXIT,    /* the call is done */
	TRACEE_SIGNAL,  /* a signal is about to be delivered */
	TRACEE_STOPPED, /* somebody has stopped its process */
	TRACEE_OTHER,   /* our interrupt; or it has just been made, or has made another */
};

struct tracee_stop {
	enum tracee_why why;
	long call; /* TRACEE_ENTRY: its number and first argument */
	int fd;
	int signo; /* TRACEE_SIGNAL: of the signal; else 0 */
};

/* From now on it stops at each system call, and the threads that it makes do. -1 and errno: EPERM
 * where the kernel does not let us, ESRCH when it has gone, ENOSYS on a machine that this file does
 * not know. */
int tracee_seize(pid_t tid);
/* It stops soon, wherever it is. */
void tracee_interrupt(pid_t tid);

/* What its stop with this wait status means. */
void tracee_read(pid_t tid, int status, struct tracee_stop *stop);

/* To its next stop; signo: what is delivered to it, 0: nothing. */
void tracee_resume(pid_t tid, int signo);
/* It stays stopped until it is sent SIGCONT. */
void tracee_listen(pid_t tid);
void tracee_detach(pid_t tid, int signo);

/* At its beginning, makes a call one that does not exist and so is not restarted either; -1 when it
 * cannot be. */
int tracee_skip_call(pid_t tid);
/* At its end: what a call returns. It can only fail where the process has been killed. */
void tracee_return_error(pid_t tid, int error);

#endif
