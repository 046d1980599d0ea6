/*
 * tell: how it stands, for those who asked by signal (the result file), for systemd, and in words.
 */
#ifndef PREFORKD_TELL_H
#define PREFORKD_TELL_H

#include <stddef.h>
#include <stdint.h>

struct fleet;
struct pidfile;

/* "4 workers in 1 pool"; returns out. */
char *tell_strength(const struct fleet *fleet, char *out, size_t size);

/* What becomes of reload or upgrade "number". */
void tell_running(const struct pidfile *pidfile, unsigned number, const char *what, uint64_t now);
void tell_done(const struct pidfile *pidfile, unsigned number, const struct fleet *fleet);
void tell_failed(
	const struct pidfile *pidfile, unsigned number, const struct fleet *fleet, const char *why);

#endif
