/*
 * title: what ps(1) shows of a process.
 */
#ifndef PREFORKD_TITLE_H
#define PREFORKD_TITLE_H

/* First of all, with what main() was given; setproctitle(3) can be used as usual then. */
void title_init(int argc, char **argv, char **envp);

/* "POOL worker SLOT STATE". Called again and again by one worker, which pays only for the change.
 */
void title_worker(const char *pool, unsigned slot, const char *state);

#endif
