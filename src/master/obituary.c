/*
 * obituary: one line for the operator: who died, how, after how much work, why, and what now.
 */
#include "master/obituary.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/conf.h"
#include "common/log.h"
#include "master/spawn.h"
#include "master/watch.h"

void obituary_tell(struct obituary *o, const char *what_next)
{
	if (o->text[0] != '\0')
		log_warning("%s, %s", o->text, what_next);
	o->text[0] = '\0';
}

void obituary_write(
	struct obituary *o, const char *pool, const struct watch *w, int status, uint64_t requests)
{
	char how[64], served[48] = "";

	spawn_status_text(status, how, sizeof(how));
	if (w->was_ready && w->conf->kind != CONF_COMMAND)
		snprintf(served, sizeof(served), " after %" PRIu64 " request%s", requests,
			requests == 1 ? "" : "s");
	obituary_tell(o, "to be replaced");
	snprintf(o->text, sizeof(o->text), "pool %s: worker %d %s%s%s%s%.300s", pool, (int)w->pid,
		how, served, w->was_ready ? "" : " before it was ready",
		w->reason[0] != '\0' ? ": " : "", w->reason);
}
