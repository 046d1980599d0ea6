/*
 * youth: connections that have come just now, and may say something at any moment.
 *
 * The client of a new connection writes at the same time as we accept, and a set of events would
 * cost three system calls. So it stays out of the set while there are others to be taken, and is
 * then given a moment. Over TCP its first bytes take longer: where nobody else waits here, it has
 * that moment at once. One that says nothing costs the whole moment, which is what it saves with
 * some hundred others, and the trust that these have earned: silent ones hold nobody.
 */
#ifndef PREFORKD_YOUTH_H
#define PREFORKD_YOUTH_H

#include <stdbool.h>

#include "worker/conn.h"

struct youth {
	struct conn *conn; /* the one that is out of the set, one at a time; NULL: none is */
	int trust;         /* that new ones say something at once; from 0 down: none */
};

void youth_init(struct youth *youth);

/* Accepted just now, and not read yet? */
bool youth_has(const struct conn *c);

/* Its first read may wait for a moment. False: it has to be one that does not wait. */
bool youth_may_wait(const struct youth *youth, const struct conn *c);
/* What such a read was good for. */
void youth_waited(struct youth *youth, const struct conn *c, enum conn_state state);

/* Gives a moment to the one that is out of the set, unless others are here, and then forgets it.
 * True: it has said something. */
bool youth_speaks(struct youth *youth, bool alone);

/* A connection has brought a request. */
void youth_earn(struct youth *youth);

#endif
