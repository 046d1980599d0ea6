/*
 * watch: one worker as the master sees it: started, followed until it is ready, asked to leave.
 *
 * Owns the worker's start pipe, its output and its deadlines. Knows nothing of pools or of how many
 * workers there should be.
 */
#ifndef PREFORKD_WATCH_H
#define PREFORKD_WATCH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "common/job.h"
#include "master/life.h"
#include "master/retire.h"

struct conf_pool;
struct err;
struct event;
struct event_base;
struct output;
struct output_sink;

/* What the master lends to every start. */
struct watch_context {
	struct event_base *base;
	job_body body;
	int lifeline_fd;
	struct rlimit nofile;
	char **environ;
	bool upgrade_waits; /* for traced workers to be let go: no worker is recycled now */
};

struct watch {
	pid_t pid;
	unsigned slot;
	enum life_state state;
	bool was_ready;
	bool expired; /* its request took too long */
	uint64_t started;
	const struct conf_pool *conf;
	size_t listener; /* command pools: index of the one it serves */
	int code;        /* exit code it asked for when it could not start; 0: it said nothing */
	char reason[JOB_REPORT_MAX * 4 + 8]; /* why, escaped */

	/* private */
	uint64_t deadline; /* of the state it is in */
	uint64_t look_at;  /* when to look again whether the program waits for connections */
	unsigned look_wait, sleeping;
	struct retire retire;
	bool execed, said_ready;
	int start_fd;
	struct event *start_event;
	struct output *output;
};

/* The parts of a start that differ from worker to worker. */
struct watch_seat {
	const struct conf_pool *conf;
	unsigned slot;
	int *listeners;
	size_t listener_count;
	int shared_fd, board_fd;           /* -1: none */
	const int *handover;               /* two descriptors; -1: none */
	int bell_fd, access_fd;            /* -1: none */
	int null_fd;                       /* /dev/null, until it was forked */
	uint64_t max_requests, max_memory; /* of this worker, 0: no limit; inside preforkd */
};

/* A start in three steps: workers that start together are forked one after the other, with nothing
 * in between that would write to what each fork shares anew. */
struct watch_start {
	struct watch *watch;
	struct job job;
	int output_read; /* -1: nobody reads what it says */
};
/* On failure there is nothing to begin or to abandon. */
int watch_prepare(struct watch_start *start, const struct watch_context *context,
	const struct watch_seat *seat, struct err *err);
/* -1 and errno on failure; then it is to be abandoned. */
int watch_fork(struct watch_start *start, const struct watch_context *context);
void watch_begin(struct watch_start *start, const struct watch_context *context,
	struct output_sink *sink, uint64_t now);
void watch_abandon(struct watch_start *start);

/* For an upgrade: goes on to follow a worker that an earlier image has started; all fields but the
 * start pipe's event and the output are filled in. */
int watch_adopt(struct watch *watch, const struct watch_context *context);

/* Feeds an event to the worker's life and carries out what follows from it. */
enum life_action watch_event(struct watch *watch, enum life_event event, uint64_t now);

/* It retires, and has no more time than until then. */
void watch_hurry(struct watch *watch, uint64_t deadline);

/* Is this a thread or process of its own that is traced? */
bool watch_knows(const struct watch *watch, pid_t tid);
/* It, or one that it knows, has stopped, as one does that is traced or was sent SIGSTOP. */
void watch_stopped(struct watch *watch, pid_t tid, int status, uint64_t now);
/* One that it knows has died; not the worker itself. */
void watch_lost(struct watch *watch, pid_t tid, uint64_t now);

/* Readiness and deadlines. Returns when it wants to be called next, UINT64_MAX: when there is news.
 */
uint64_t watch_follow(struct watch *watch, uint64_t now);

/* After its death: reads what it still had to report about its start. */
void watch_collect(struct watch *watch);
/* Takes its last output and frees everything. */
void watch_free(struct watch *watch);

#endif
