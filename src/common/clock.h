/*
 * clock: the clock that decides when something is due. What is shown to people has the wall's.
 */
#ifndef PREFORKD_CLOCK_H
#define PREFORKD_CLOCK_H

#include <stdint.h>

/* Milliseconds of CLOCK_MONOTONIC (clock_gettime(2)). */
uint64_t clock_ms(void);
/* The same in microseconds, for what is measured. */
uint64_t clock_us(void);
/* Milliseconds of CLOCK_REALTIME, since 1970. */
uint64_t clock_wall_ms(void);

#endif
