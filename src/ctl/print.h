/*
 * print: figures and foreign text as an operator reads them.
 *
 * The gate escapes what comes from strangers; here nobody relies on that: what is not printable
 * ASCII never gets to a terminal. Unknown figures are a dash.
 */
#ifndef PREFORKD_CTL_PRINT_H
#define PREFORKD_CTL_PRINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define PRINT_WIDTH 24 /* holds each of the texts below */

/* What is not printable ASCII becomes a question mark. Cuts what does not fit. Returns out. */
char *print_safe(const char *text, char *out, size_t size);

/* May out be coloured? A terminal that can, and no NO_COLOR. */
bool print_colours(FILE *out);

/* Each returns out. Below zero: unknown, "-". */
char *print_number(int64_t number, char *out);
char *print_bytes(int64_t bytes, char *out);    /* 512, 1.5M */
char *print_seconds(double seconds, char *out); /* 50us, 2.5ms, 0.25s, 12s, 3m05s, 2h10m, 4d03h */
char *print_rate(double per_second, char *out); /* 0.3, 12.5, 30412 */

#endif
