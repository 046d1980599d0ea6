/*
 * overtime: says what is slow, ends what is too slow.
 *
 * Inside preforkd the begin of a request is known, so that the next look can be at the very moment
 * when a limit is reached. A program is looked at in steps. Never decides by what a worker says
 * alone about another one.
 */
#include "master/overtime.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/board.h"
#include "common/conf.h"
#include "common/log.h"
#include "master/policy.h"
#include "master/roster.h"
#include "master/watch.h"

#define STEPS 8         /* looks at a program within its limit */
#define STEP_MIN 10     /* ms */
#define STEP_MAX 1000   /* ms */
#define REST_STEPS 4    /* looks within the limit while a pool of programs rests */
#define REST_MAX 5000   /* ms */
#define REQUEST_TEXT 96 /* bytes of method and path in the log, before they are escaped */

bool overtime_concerns(const struct conf_pool *conf)
{
	return conf->request_timeout > 0 || conf->slow_request > 0;
}

/* "GET /path", escaped; "a request" where it is not known. */
static void name_request(const struct member *m, const struct board *board, char *out, size_t size)
{
	struct board_request said;
	char text[REQUEST_TEXT];

	snprintf(out, size, "a request");
	if (m->watch->conf->kind == CONF_COMMAND)
		return;
	board_read_request(board, m->watch->slot, &said);
	if (said.method[0] == '\0')
		return;
	snprintf(text, sizeof(text), "%.15s %.75s", said.method, said.path);
	log_escape(text, strlen(text), out, size);
}

static void say_slow(struct member *m, const struct board *board, uint64_t lasted)
{
	const struct conf_pool *conf = m->watch->conf;
	char request[REQUEST_TEXT * 4 + 8], next[64] = "";

	m->told = m->since;
	if (conf->request_timeout > 0)
		snprintf(next, sizeof(next), ", its end is at %" PRIu64 ".%03" PRIu64 " s",
			conf->request_timeout / 1000, conf->request_timeout % 1000);
	name_request(m, board, request, sizeof(request));
	log_warning("pool %s: worker %d is slow: %s has run for %" PRIu64 ".%03" PRIu64 " s%s",
		conf->name, (int)m->watch->pid, request, lasted / 1000, lasted % 1000, next);
}

static void end(struct member *m, const struct board *board, uint64_t lasted, uint64_t now)
{
	char request[REQUEST_TEXT * 4 + 8];

	name_request(m, board, request, sizeof(request));
	log_err("pool %s: worker %d is killed and replaced: %s has run for %" PRIu64 ".%03" PRIu64
		" s, longer than request-timeout",
		m->watch->conf->name, (int)m->watch->pid, request, lasted / 1000, lasted % 1000);
	watch_event(m->watch, LIFE_EV_EXPIRE, now);
}

static uint64_t part_of_shortest(
	const struct conf_pool *conf, unsigned parts, uint64_t least, uint64_t most)
{
	uint64_t shortest = conf->request_timeout;

	if (shortest == 0 || (conf->slow_request > 0 && conf->slow_request < shortest))
		shortest = conf->slow_request;
	uint64_t step = shortest / parts;
	if (step < least)
		return least;
	return step < most ? step : most;
}

uint64_t overtime_rest(const struct conf_pool *conf, uint64_t now)
{
	if (conf->kind != CONF_COMMAND || !overtime_concerns(conf))
		return UINT64_MAX;
	return now + part_of_shortest(conf, REST_STEPS, STEP_MIN, REST_MAX);
}

static uint64_t follow_one(struct member *m, const struct board *board, uint64_t now)
{
	const struct conf_pool *conf = m->watch->conf;
	uint64_t lasted = now - m->since, next = UINT64_MAX;

	if (conf->request_timeout > 0 && lasted >= conf->request_timeout) {
		end(m, board, lasted, now);
		return UINT64_MAX;
	}
	if (conf->slow_request > 0 && lasted >= conf->slow_request && m->told != m->since)
		say_slow(m, board, lasted);
	if (conf->request_timeout > 0)
		next = m->since + conf->request_timeout;
	if (conf->slow_request > 0 && m->told != m->since)
		next = policy_earlier(next, m->since + conf->slow_request);
	if (conf->kind == CONF_COMMAND)
		next = policy_earlier(
			next, now + part_of_shortest(conf, STEPS, STEP_MIN, STEP_MAX));
	return next;
}

uint64_t overtime_follow(const struct roster *roster, const struct board *board, uint64_t now)
{
	uint64_t next = UINT64_MAX;

	for (unsigned s = 1; s <= roster->slots; s++) {
		struct member *m = &roster->members[s];

		if (m->watch == NULL || m->since == 0 || !overtime_concerns(m->watch->conf))
			continue;
		if (m->watch->state == LIFE_UP || m->watch->state == LIFE_RETIRING)
			next = policy_earlier(next, follow_one(m, board, now));
	}
	return next;
}
