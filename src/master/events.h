/*
 * events: the last lines of the log of level notice and above, for whoever asks what has happened.
 * What workers print is not among them.
 */
#ifndef PREFORKD_EVENTS_H
#define PREFORKD_EVENTS_H

#include <stddef.h>

struct err;
struct ledger_event;
struct state_in;
struct state_out;

#define EVENTS_MAX 64

/* From now on lines are kept. */
void events_keep(void);
/* The oldest first, EVENTS_MAX at most; returns how many. */
size_t events_copy(struct ledger_event *out);

/* For an upgrade. */
void events_save(struct state_out *out);
int events_restore(struct state_in *in, struct err *err);

#endif
