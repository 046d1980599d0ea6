/*
 * handover: the socket pair through which workers of one pool give idle connections to each other.
 *
 * It belongs to the pool and outlives generations. The master only makes, lends and ends it; it
 * never reads from it.
 */
#ifndef PREFORKD_HANDOVER_H
#define PREFORKD_HANDOVER_H

#include <stdbool.h>

struct handover {
	int fds[2]; /* send into the first, receive from the second; -1: there is none */
};

#define HANDOVER_NONE             \
	{                         \
		.fds = { -1, -1 } \
	}

/* Makes it unless it is there. -1 and errno on failure. */
int handover_open(struct handover *handover);
/* Nobody has taken yet what a worker gave away. */
bool handover_is_waiting(const struct handover *handover);
/* From now on nobody can give anything away: workers that leave close what they have. */
void handover_end(struct handover *handover);

#endif
