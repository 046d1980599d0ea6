/*
 * serve: the FastCGI accept loop of a worker inside preforkd.
 */
#ifndef PREFORKD_SERVE_H
#define PREFORKD_SERVE_H

struct accesslog;
struct board_seat;
struct job;

void serve(const struct job *job, const struct board_seat *seat, struct accesslog *log)
	__attribute__((noreturn));

#endif
