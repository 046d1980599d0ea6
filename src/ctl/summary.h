/*
 * summary: the figures as text, for "preforkctl status".
 */
#ifndef PREFORKD_CTL_SUMMARY_H
#define PREFORKD_CTL_SUMMARY_H

#include <stdbool.h>
#include <stdio.h>

#include "ctl/table.h"

struct figures;
struct figures_latency;

/* workers: with a line for each of them. */
void summary_print(const struct figures *figures, bool workers, bool colours, FILE *out);

/* So many of a hundred requests took no longer: 5.0ms, >30s, or a dash. Returns out, of PRINT_WIDTH
 * bytes. */
char *summary_within(const struct figures_latency *latency, unsigned percent, char *out);

/* The colour of a state of a daemon, a pool or a worker. */
enum table_colour summary_colour(const char *state);

#endif
