/*
 * confcheck: what must fit together in a configuration.
 */
#ifndef PREFORKD_CONFCHECK_H
#define PREFORKD_CONFCHECK_H

#include "common/conferr.h"

/* Adds every contradiction within and between the pools to mistakes. */
void confcheck_pools(const struct conf *conf, struct conferr *mistakes);

#endif
