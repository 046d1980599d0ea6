/*
 * look: what a program is doing, seen from outside through /proc.
 *
 * A program that was exec'd cannot say that it is ready: it is when it waits for a connection. What
 * is read here belongs to another user's process: numbers are clamped, nothing is trusted.
 */
#ifndef PREFORKD_LOOK_H
#define PREFORKD_LOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum look {
	LOOK_RUNNING,  /* it does something else, or it cannot be seen */
	LOOK_SLEEPING, /* it waits in poll, select, epoll or something unknown: look again */
	LOOK_ACCEPTING /* it, or a child of it, waits in accept */
};

/* Numbers of system calls in which a program waits for connections: accept and accept4; poll,
 * select, epoll_wait and their like. */
bool look_is_accept(long number);
bool look_is_poll(long number);

/* Of all its threads and children, what counts most. */
enum look look_at(pid_t pid);

/* Is it blocked in reading from a socket? Its inode number then, else 0. */
ino_t look_reads_from(pid_t pid);

/* Resident size, bytes, of the process or of the largest of its descendants; 0: it cannot be seen.
 */
uint64_t look_resident(pid_t pid);

#define LOOK_THREADS_MAX 1025
/* Its threads; returns how many, 0 if it has gone. More than there is room for are passed over. */
size_t look_threads(pid_t pid, pid_t threads[LOOK_THREADS_MAX]);
/* The process that a thread belongs to; 0 if it has gone. */
pid_t look_process_of(pid_t thread);
/* Gone, or waiting to be reaped. */
bool look_is_dead(pid_t thread);
/* Does the process handle or ignore this signal? Else it dies of it, or it cannot be seen. */
bool look_minds_signal(pid_t pid, int signo);
/* Does this descriptor of the process not block? */
bool look_is_nonblocking(pid_t pid, int fd);
/* Has it an epoll(7) instance? */
bool look_has_epoll(pid_t pid);
/* Does it stand still after SIGSTOP? One that is gone does. */
bool look_is_stopped(pid_t pid);

#define LOOK_GROUP_MAX 256
/* The process and its descendants; returns how many. */
size_t look_group(pid_t pid, pid_t group[LOOK_GROUP_MAX]);

#endif
