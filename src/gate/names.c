/*
 * names: stable; dashboards and scripts rely on them.
 */
#include "gate/names.h"

#include <stddef.h>
#include <syslog.h>

#include "common/ledger.h"

static const char *const phases[] = {
	[LEDGER_STARTING] = "starting",
	[LEDGER_SERVING] = "serving",
	[LEDGER_STOPPING] = "stopping",
};
static const char *const results[] = {
	[LEDGER_NONE] = "none",
	[LEDGER_DONE] = "done",
	[LEDGER_FAILED] = "failed",
	[LEDGER_RUNNING] = "running",
};
static const char *const retirements[] = {
	[LEDGER_BY_TRACE] = "trace",
	[LEDGER_BY_STOP] = "stop",
	[LEDGER_BY_SIGNAL] = "signal",
};
static const char *const kinds[] = {
	[LEDGER_APP] = "app",
	[LEDGER_MODULE] = "module",
	[LEDGER_COMMAND] = "command",
};
static const char *const pools[] = {
	[LEDGER_POOL_STARTING] = "starting",
	[LEDGER_POOL_SERVING] = "serving",
	[LEDGER_POOL_BACKOFF] = "backoff",
	[LEDGER_POOL_DRAINING] = "draining",
	[LEDGER_POOL_STOPPING] = "stopping",
};
static const char *const workers[] = {
	[LEDGER_WORKER_STARTING] = "starting",
	[LEDGER_WORKER_IDLE] = "idle",
	[LEDGER_WORKER_BUSY] = "busy",
	[LEDGER_WORKER_RETIRING] = "retiring",
	[LEDGER_WORKER_UNKNOWN] = NULL,
};
static const char *const deaths[] = {
	[LEDGER_EXITED] = "exited",
	[LEDGER_SIGNAL] = "signal",
	[LEDGER_TIMEOUT] = "timeout",
	[LEDGER_FAILED_START] = "failed_start",
	[LEDGER_RETIRED] = "retired",
};
static const char *const levels[] = {
	[LOG_ERR] = "error",
	[LOG_WARNING] = "warning",
	[LOG_NOTICE] = "notice",
};

#define DEFINE(name, table)                                                                   \
	const char *names_##name(uint32_t number)                                             \
	{                                                                                     \
		return number < sizeof(table) / sizeof(table[0]) ? table[number] : "unknown"; \
	}

DEFINE(phase, phases)
DEFINE(result, results)
DEFINE(retirement, retirements)
DEFINE(kind, kinds)
DEFINE(pool, pools)
DEFINE(worker, workers)
DEFINE(death, deaths)
DEFINE(level, levels)
