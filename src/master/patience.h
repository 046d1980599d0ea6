/*
 * patience: opens the addresses of a start while the orphans of a dead master may still hold them.
 */
#ifndef PREFORKD_PATIENCE_H
#define PREFORKD_PATIENCE_H

#include <stdbool.h>

struct conf;
struct err;
struct fleet;

/* fleet_prepare() again and again, while it may help. unclean: there was a master that died. The
 * signals that stop us are blocked, and end the waiting. conf belongs to the fleet, or is freed. */
int patience_prepare(struct fleet *fleet, struct conf *conf, bool unclean, struct err *err);

#endif
