/*
 * report: a snapshot as JSON, and as what a health check wants to know.
 */
#ifndef PREFORKD_REPORT_H
#define PREFORKD_REPORT_H

#include <stdbool.h>

struct ledger;
struct vitals;

/* For free(); NULL without memory. */
char *report_json(const struct ledger *ledger, const struct vitals *vitals);

/* "ok", or one reason on each line; for free(). */
char *report_health(const struct ledger *ledger, bool *healthy);

/* What becomes of a command. */
char *report_answer(bool ok, const char *message);

#endif
