/*
 * spawn: fork one child whose body never returns, and the end of a child in words.
 */
#ifndef PREFORKD_SPAWN_H
#define PREFORKD_SPAWN_H

#include <stddef.h>
#include <sys/types.h>

#include "common/job.h"

/* Forks. The child has its own process group, default dispositions and an empty mask, and runs
 * body. -1 and errno on failure. */
pid_t spawn(job_body body, const struct job *job);

/* "exited with code 3", "killed by SIGSEGV (core dumped)"; returns out. */
char *spawn_status_text(int status, char *out, size_t size);

#endif
