/*
 * rates: what two looks at the figures say of the time between them.
 */
#ifndef PREFORKD_CTL_RATES_H
#define PREFORKD_CTL_RATES_H

struct figures;

/* Fills the rates and recent latency of every pool and cpu_share of every worker in now, where
 * before (NULL: none), taken so many seconds earlier, knew them. */
void rates_fill(struct figures *now, const struct figures *before, double seconds);

#endif
