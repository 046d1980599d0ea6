/*
 * youth: connections that have come just now, and may say something at any moment.
 */
#include "worker/youth.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>

#define MOMENT_MS 4 /* a client may have lost its processor for a slice */
#define TRUST_MOST 128
#define TRUST_LOST 64

void youth_init(struct youth *youth)
{
	*youth = (struct youth){ .trust = TRUST_MOST };
}

bool youth_trusts(const struct youth *youth, const struct conn *c)
{
	return youth->trust > 0 && c->list == CONN_NOWHERE && c->requests == 0 && c->given == 0;
}

/* The kernel counts it in ticks, so it can be a few times as long. It is cheaper than to ask first
 * whether there is something to read. Not inherited from the listener, which others have, too. */
bool youth_may_wait(const struct conn *c)
{
	const struct timeval moment = { .tv_usec = MOMENT_MS * 1000 };

	return c->remote &&
	       setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &moment, sizeof(moment)) == 0;
}

/* The moment was for a request; it is no better if it brings an end, or nonsense. */
void youth_waited(struct youth *youth, const struct conn *c, enum conn_state state)
{
	if (state != CONN_READY && (state != CONN_WAITS || conn_is_idle(c)))
		youth->trust -= TRUST_LOST;
}

bool youth_speaks(const struct conn *c)
{
	struct pollfd bytes = { .fd = c->fd, .events = POLLIN };

	return poll(&bytes, 1, MOMENT_MS) > 0;
}

void youth_earn(struct youth *youth)
{
	if (youth->trust < TRUST_MOST)
		youth->trust++;
}
