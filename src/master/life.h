/*
 * life: what becomes of one worker. A pure table: state x event -> next state and what to do.
 *
 * Knows no process, no clock and no pool; whoever applies the action owns all of that.
 */
#ifndef PREFORKD_LIFE_H
#define PREFORKD_LIFE_H

#define LIFE_STATES(X)                                                                      \
	X(STARTING, "starting") /* forked; has not said that it waits for connections */    \
	X(UP, "up")             /* ready: serves */                                         \
	X(RETIRING, "retiring") /* asked to stop; finishes what it has in hand */           \
	X(FAILING, "failing")   /* was never ready in time and has been killed for it */    \
	X(EXPIRED, "expired")   /* in one request for too long: told to end, then killed */ \
	X(KILLED, "killed")     /* killed on purpose; its death is expected */              \
	X(GONE, "gone")         /* reaped */

#define LIFE_EVENTS(X)                                                      \
	X(READY)   /* it waits for connections */                           \
	X(LATE)    /* start-timeout has passed without READY */             \
	X(RETIRE)  /* it is no longer wanted */                             \
	X(EXPIRE)  /* request-timeout has passed in one request */          \
	X(OVERDUE) /* stop-timeout has passed since it was asked to stop */ \
	X(CUT)     /* stop at once */                                       \
	X(DIED)    /* waitpid returned it */

#define LIFE_ACTIONS(X)                                                 \
	X(NONE)                                                         \
	X(SERVE)   /* it is ready */                                    \
	X(STOP)    /* send the stop-signal, start the stop-timeout */   \
	X(EXPIRE)  /* end it with the request that it has */            \
	X(KILL)    /* SIGKILL to its process group */                   \
	X(REPLACE) /* it died unasked: log, count, replace by policy */ \
	X(BURY)    /* it ended as it was told to */

enum life_state {
#define X(name, text) LIFE_##name,
	LIFE_STATES(X)
#undef X
		LIFE_STATE_COUNT
};

enum life_event {
#define X(name) LIFE_EV_##name,
	LIFE_EVENTS(X)
#undef X
		LIFE_EVENT_COUNT
};

enum life_action {
#define X(name) LIFE_DO_##name,
	LIFE_ACTIONS(X)
#undef X
		LIFE_ACTION_COUNT
};

struct life_step {
	enum life_state next;
	enum life_action action;
};

struct life_step life_step(enum life_state state, enum life_event event);
const char *life_state_name(enum life_state state);

#endif
