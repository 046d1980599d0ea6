/*
 * top: what the workers do, refreshed every second, until somebody quits.
 */
#ifndef PREFORKD_CTL_TOP_H
#define PREFORKD_CTL_TOP_H

struct err;
struct wire;

/* timeout in ms for each look at the figures. -1 with *err filled: it could not begin. */
int top_run(struct wire *wire, long timeout, struct err *err);

#endif
