/*
 * job: what the master hands to a newly forked worker, and what the worker says back.
 *
 * The struct is the child's copy of the master's memory at fork; the report travels through the
 * start pipe and comes from an unprivileged process: the reader checks and escapes it.
 */
#ifndef PREFORKD_JOB_H
#define PREFORKD_JOB_H

#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

struct conf_pool;

struct job {
	const struct conf_pool *pool;
	unsigned slot;  /* worker number in the pool, from 1 */
	pid_t master;   /* to see with getppid() that it still lives */
	int *listeners; /* in-process: all of the pool; command: the one to put on fd 0 */
	size_t listener_count;
	int shared_fd;         /* in-process: the application's page; else -1 */
	int board_fd;          /* in-process: the worker's page of the scoreboard; else -1 */
	int handover[2];       /* in-process: to siblings, from siblings; else -1 */
	int access_fd;         /* in-process with an access log: where to look for it; else -1 */
	int bell_fd;           /* in-process: eventfd(2) that wakes the master; else -1 */
	uint64_t max_requests; /* in-process: after so many it takes no more; 0: no limit */
	uint64_t max_memory;   /* in-process: the same for its resident size, bytes; 0: no limit */
	int null_fd;           /* /dev/null */
	int output_fd;         /* becomes 1 and 2; -1: /dev/null */
	int start_fd;          /* the start pipe's write end, close-on-exec */
	int lifeline_fd;       /* read end of a pipe that ends with the master */
	struct rlimit nofile;  /* what the master was started with */
	char **environ;        /* the master's environment, for pass-env */
};

/*
 * On the start pipe: one write of at most JOB_REPORT_MAX bytes, or none.
 *   'R'            ready: it waits for connections
 *   'F' CODE TEXT  failed: CODE is a sysexits(3) byte, TEXT a sentence without NUL or newline
 * End of file without a byte: the program was exec'd (or the worker died; the wait status tells).
 */
#define JOB_READY 'R'
#define JOB_FAILED 'F'
#define JOB_REPORT_MAX 400

/* Its request takes too long: one inside preforkd answers it with 504 if nothing was sent yet, and
 * is gone; whoever is still there a moment later is killed. */
#define JOB_EXPIRED_SIGNAL (SIGRTMIN + 1)

/* A worker's body: never returns. Handed from preforkd.c to the master, which knows no worker. */
typedef void (*job_body)(const struct job *job) __attribute__((noreturn));

#endif
