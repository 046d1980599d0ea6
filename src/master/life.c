/*
 * life: the table. Every cell is written down, so that a missing one is visible: a cell that says
 * STAY cannot matter (READY from a worker that is already retiring, for instance).
 */
#include "master/life.h"

#define STAY(state)                        \
	{                                  \
		LIFE_##state, LIFE_DO_NONE \
	}

static const struct life_step table[LIFE_STATE_COUNT][LIFE_EVENT_COUNT] = {
	[LIFE_STARTING] = {
		[LIFE_EV_READY] = { LIFE_UP, LIFE_DO_SERVE },
		[LIFE_EV_LATE] = { LIFE_FAILING, LIFE_DO_KILL },
		[LIFE_EV_RETIRE] = { LIFE_RETIRING, LIFE_DO_STOP },
		[LIFE_EV_EXPIRE] = STAY(STARTING),
		[LIFE_EV_OVERDUE] = STAY(STARTING),
		[LIFE_EV_CUT] = { LIFE_KILLED, LIFE_DO_KILL },
		[LIFE_EV_DIED] = { LIFE_GONE, LIFE_DO_REPLACE },
	},
	[LIFE_UP] = {
		[LIFE_EV_READY] = STAY(UP),
		[LIFE_EV_LATE] = STAY(UP),
		[LIFE_EV_RETIRE] = { LIFE_RETIRING, LIFE_DO_STOP },
		[LIFE_EV_EXPIRE] = { LIFE_EXPIRED, LIFE_DO_EXPIRE },
		[LIFE_EV_OVERDUE] = STAY(UP),
		[LIFE_EV_CUT] = { LIFE_KILLED, LIFE_DO_KILL },
		[LIFE_EV_DIED] = { LIFE_GONE, LIFE_DO_REPLACE },
	},
	[LIFE_RETIRING] = {
		[LIFE_EV_READY] = STAY(RETIRING),
		[LIFE_EV_LATE] = STAY(RETIRING),
		[LIFE_EV_RETIRE] = STAY(RETIRING),
		[LIFE_EV_EXPIRE] = { LIFE_EXPIRED, LIFE_DO_EXPIRE },
		[LIFE_EV_OVERDUE] = { LIFE_KILLED, LIFE_DO_KILL },
		[LIFE_EV_CUT] = { LIFE_KILLED, LIFE_DO_KILL },
		[LIFE_EV_DIED] = { LIFE_GONE, LIFE_DO_BURY },
	},
	[LIFE_FAILING] = {
		[LIFE_EV_READY] = STAY(FAILING),
		[LIFE_EV_LATE] = STAY(FAILING),
		[LIFE_EV_RETIRE] = { LIFE_KILLED, LIFE_DO_NONE },
		[LIFE_EV_EXPIRE] = STAY(FAILING),
		[LIFE_EV_OVERDUE] = STAY(FAILING),
		[LIFE_EV_CUT] = { LIFE_KILLED, LIFE_DO_NONE },
		[LIFE_EV_DIED] = { LIFE_GONE, LIFE_DO_REPLACE },
	},
	[LIFE_EXPIRED] = {
		[LIFE_EV_READY] = STAY(EXPIRED),
		[LIFE_EV_LATE] = STAY(EXPIRED),
		[LIFE_EV_RETIRE] = STAY(EXPIRED),
		[LIFE_EV_EXPIRE] = STAY(EXPIRED),
		[LIFE_EV_OVERDUE] = { LIFE_KILLED, LIFE_DO_KILL },
		[LIFE_EV_CUT] = { LIFE_KILLED, LIFE_DO_KILL },
		[LIFE_EV_DIED] = { LIFE_GONE, LIFE_DO_BURY },
	},
	[LIFE_KILLED] = {
		[LIFE_EV_READY] = STAY(KILLED),
		[LIFE_EV_LATE] = STAY(KILLED),
		[LIFE_EV_RETIRE] = STAY(KILLED),
		[LIFE_EV_EXPIRE] = STAY(KILLED),
		[LIFE_EV_OVERDUE] = STAY(KILLED),
		[LIFE_EV_CUT] = STAY(KILLED),
		[LIFE_EV_DIED] = { LIFE_GONE, LIFE_DO_BURY },
	},
	[LIFE_GONE] = {
		[LIFE_EV_READY] = STAY(GONE),
		[LIFE_EV_LATE] = STAY(GONE),
		[LIFE_EV_RETIRE] = STAY(GONE),
		[LIFE_EV_EXPIRE] = STAY(GONE),
		[LIFE_EV_OVERDUE] = STAY(GONE),
		[LIFE_EV_CUT] = STAY(GONE),
		[LIFE_EV_DIED] = STAY(GONE),
	},
};

static const char *const names[LIFE_STATE_COUNT] = {
#define X(name, text) [LIFE_##name] = text,
	LIFE_STATES(X)
#undef X
};

struct life_step life_step(enum life_state state, enum life_event event)
{
	return table[state][event];
}

const char *life_state_name(enum life_state state)
{
	return names[state];
}
