/*
 * app_counter: the built-in application. Every request adds one to a counter that all workers of
 * the pool share, and is answered with the number: 1, 2, 3, ... each given exactly once.
 */
#ifndef PREFORKD_APP_COUNTER_H
#define PREFORKD_APP_COUNTER_H

#include "preforkd_app.h"

extern const struct preforkd_app app_counter;

#endif
