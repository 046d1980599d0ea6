/*
 * kept: connections go from worker to worker, with what has been read of them.
 *
 * A worker that leaves hands the connections that web servers keep open (FCGI_KEEP_CONN) over to
 * its siblings, the next generation among them, so that the client sees nothing; and a worker that
 * has got a request gives away what others could serve meanwhile.
 */
#ifndef PREFORKD_KEPT_H
#define PREFORKD_KEPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Is there still somebody who could be given one? */
bool kept_has_siblings(int handover);
/* Does one that was given away still wait? Then every sibling is busy. */
bool kept_is_waiting(int handover);
/* What goes with a connection. */
struct kept_parcel {
	uint8_t times;     /* that it has been given away */
	uint32_t requests; /* that it has brought */
	uint64_t head_due; /* ms: when the head of its request must be whole; 0: it has not begun */
	uint8_t *bytes;    /* that have been read from it; the owner's */
	size_t length;
};

/* Gives a connection to whoever receives first. False: nobody can have it (the pool stops, or too
 * many are under way). Never waits. */
bool kept_send(int handover, int fd, const struct kept_parcel *parcel);
/* Wakes one that is idle, if any is: it looks at all that it waits for. Never waits. */
void kept_nudge(int handover);
/* A connection that a sibling gave away; parcel->length is the room at bytes, then what there is.
 * -1 with errno EPIPE: there will be no more; else another was faster. Never waits. */
int kept_receive(int handover, struct kept_parcel *parcel);

#endif
