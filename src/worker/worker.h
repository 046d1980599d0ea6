/*
 * worker: the child's whole life, from fork to exit.
 */
#ifndef PREFORKD_WORKER_H
#define PREFORKD_WORKER_H

struct job;

/* Takes its place: descriptors, limits, privileges; then serves, or execs the program. */
void worker_main(const struct job *job) __attribute__((noreturn));

#endif
