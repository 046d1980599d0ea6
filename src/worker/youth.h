/*
 * youth: connections that have come just now, and may say something at any moment.
 *
 * The client of a new connection writes at the same time as we accept, and a set of events would
 * cost three system calls. So where nobody else waits here it is given a moment; over TCP, where
 * its first bytes take longer, before it is asked. One that says nothing costs the whole moment,
 * which is what it saves with some dozens of others, and the trust that these have earned: silent
 * ones hold nobody.
 */
#ifndef PREFORKD_YOUTH_H
#define PREFORKD_YOUTH_H

#include <stdbool.h>

#include "worker/conn.h"

struct youth {
	int trust; /* that new ones say something at once; from 0 down: none */
};

void youth_init(struct youth *youth);

/* Has it come just now, is not read yet, and worth a moment? */
bool youth_trusts(const struct youth *youth, const struct conn *c);

/* Its first read may wait for a moment. False: it has to be one that does not wait. */
bool youth_may_wait(const struct conn *c);
/* A first read that did not wait has found nothing. Gives it a moment. True: it has said something.
 */
bool youth_speaks(const struct conn *c);
/* What its moment was good for. */
void youth_waited(struct youth *youth, const struct conn *c, enum conn_state state);

/* A connection has brought a request. */
void youth_earn(struct youth *youth);

#endif
