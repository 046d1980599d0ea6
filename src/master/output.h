/*
 * output: the workers' stdout and stderr, line by line, into the log, a file or nowhere.
 *
 * Whatever a worker prints is foreign: it is escaped, cut into lines of bounded length, and bounded
 * in rate, and reading it never keeps the master from its other work.
 */
#ifndef PREFORKD_OUTPUT_H
#define PREFORKD_OUTPUT_H

#include <sys/types.h>

struct conf_pool;
struct err;
struct event_base;
struct output;
struct output_sink;
struct state_in;
struct state_out;

/* One per generation of a pool: where its lines go. NULL and *err when the file cannot be opened.
 */
struct output_sink *output_sink_open(const struct conf_pool *pool, struct err *err);
/* -1 with *err, which has been logged: the old file stays. */
int output_sink_reopen(struct output_sink *sink, struct err *err);
void output_sink_close(struct output_sink *sink);

/* Follows one worker's pipe. On success owns fd. NULL: out of memory. */
struct output *output_attach(struct output_sink *sink, struct event_base *base, int fd, pid_t pid);
/* For an upgrade: the pipe, and what has come of an unfinished line. */
void output_save(const struct output *output, struct state_out *out);
struct output *output_restore(struct output_sink *sink, struct event_base *base, pid_t pid,
	struct state_in *in, struct err *err);
/* Takes what is left in the pipe, and lets go. */
void output_detach(struct output *output);

#endif
