/*
 * metrics: a snapshot in the words of Prometheus: OpenMetrics 1.0, or the text format 0.0.4 for
 * those who do not know that.
 */
#ifndef PREFORKD_METRICS_H
#define PREFORKD_METRICS_H

#include <stdbool.h>

struct ledger;
struct vitals;

#define METRICS_OPEN "application/openmetrics-text; version=1.0.0; charset=utf-8"
#define METRICS_PLAIN "text/plain; version=0.0.4; charset=utf-8"

/* open: OpenMetrics. For free(); NULL without memory. */
char *metrics_text(const struct ledger *ledger, const struct vitals *vitals, bool open);

#endif
