/*
 * succession: one upgrade, from the question to the exec, with what the log and those who asked
 * hear of it.
 */
#ifndef PREFORKD_SUCCESSION_H
#define PREFORKD_SUCCESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "master/heritage.h"
#include "master/upgrade.h"

struct event_base;

struct succession {
	struct heritage *heritage;
	struct heritage_parts *parts;
	struct upgrade upgrade;
};

/* Asks the new program. No transaction may be under way, and none may begin until the end. */
void succession_begin(struct succession *s, struct event_base *base, uint64_t now);
/* True when the new program has consented: then prepare for succession_execute(). */
bool succession_follow(struct succession *s, uint64_t now, uint64_t *next);
/* Signals are blocked, and none that was taken waits to be acted on. Returns if it fails; nothing
 * has changed then. */
void succession_execute(struct succession *s);

#endif
