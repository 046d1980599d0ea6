/*
 * summary: the figures as text, for "preforkctl status".
 */
#ifndef PREFORKD_CTL_SUMMARY_H
#define PREFORKD_CTL_SUMMARY_H

#include <stdbool.h>
#include <stdio.h>

#include "ctl/table.h"

struct figures;

/* workers: with a line for each of them. */
void summary_print(const struct figures *figures, bool workers, bool colours, FILE *out);

/* The colour of a state of a daemon, a pool or a worker. */
enum table_colour summary_colour(const char *state);

#endif
