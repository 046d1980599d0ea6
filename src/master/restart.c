/*
 * restart: judges by what the master has seen and by what the scoreboard said last. The rules are
 * those of policy; here are the facts, and the words for the operator.
 */
#include "master/restart.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#include "common/board.h"
#include "common/conf.h"
#include "common/log.h"
#include "master/generation.h"
#include "master/roster.h"
#include "master/watch.h"

struct restart_death restart_judge(
	const struct member *m, const struct board *board, int status, uint64_t now)
{
	const struct watch *w = m->watch;
	struct board_worker said = { 0 };
	struct policy_obituary o = { .was_ready = w->was_ready,
		.by_signal = WIFSIGNALED(status),
		.by_sigkill = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL &&
			      w->state != LIFE_FAILING,
		.requests_known = w->conf->kind != CONF_COMMAND,
		.lived = now - w->started };

	if (o.requests_known)
		board_read(board, w->slot, &said);
	o.requests = said.requests + (said.busy ? 1 : 0);
	return (struct restart_death){ .kind = policy_judge(&o), .requests = said.requests };
}

void restart_count(struct restart *r, const char *pool, const struct member *m,
	const struct restart_death *death, int status, uint64_t now)
{
	bool grown =
		policy_died(&r->policy, death->kind, m->generation->want, m->watch->started, now);

	if (death->kind == POLICY_CRASH || grown)
		obituary_write(&r->obituary, pool, m->watch, status, death->requests);
}

bool restart_is_on_trial(struct restart *r, const char *pool, const struct roster *roster,
	const struct board *board, uint64_t now, uint64_t *next)
{
	bool probing = false;

	for (unsigned s = 1; r->policy.delay > 0 && s <= roster->slots; s++) {
		struct member *m = &roster->members[s];
		struct board_worker said = { 0 };

		if (m->watch == NULL || m->watch->started < r->policy.last_failure ||
			(m->watch->state != LIFE_UP && m->watch->state != LIFE_STARTING))
			continue;
		if (m->watch->conf->kind != CONF_COMMAND)
			board_read(board, s, &said);
		uint64_t due = m->watch->started + POLICY_PROVEN;
		if (m->watch->was_ready && (now >= due || said.requests > 0)) {
			log_notice("pool %s: worker %d serves, back-off ends", pool,
				(int)m->watch->pid);
			policy_proven(&r->policy);
			return false;
		}
		probing = true;
		if (m->watch->was_ready && due < *next)
			*next = due;
	}
	return probing;
}

void restart_tell(struct restart *r)
{
	char what[64] = "to be replaced";

	if (r->policy.delay > 0)
		snprintf(what, sizeof(what), "next try in %" PRIu64 " ms", r->policy.delay);
	obituary_tell(&r->obituary, what);
}
