/*
 * history: counts, and notes the time.
 */
#include "master/history.h"

#include <stdio.h>

#include "common/clock.h"
#include "common/ledger.h"

static void note(struct ledger_changes *c, enum ledger_result result, const char *why)
{
	c->last = (uint32_t)result;
	c->at = clock_wall_ms();
	snprintf(c->reason, sizeof(c->reason), "%s", why);
}

void history_begins(struct ledger_changes *changes)
{
	note(changes, LEDGER_RUNNING, "");
}

void history_done(struct ledger_changes *changes)
{
	changes->done++;
	note(changes, LEDGER_DONE, "");
}

void history_failed(struct ledger_changes *changes, const char *why)
{
	changes->failed++;
	note(changes, LEDGER_FAILED, why);
}
