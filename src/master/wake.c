/*
 * wake: events that fire once. Without memory for one nothing wakes; the pool is then looked at
 * whenever the master has something else to do.
 */
#include "master/wake.h"

#include <event2/event.h>
#include <stdlib.h>
#include <sys/uio.h>

#include "master/bind.h"

#define DEAF_MS 5 /* a worker that rings without end gets no more attention than this */

void wake_free(struct wake *w)
{
	wake_unwatch(w);
	if (w->bell != NULL)
		event_free(w->bell);
	w->bell = NULL;
}

bool wake_noticed(struct wake *w)
{
	bool noticed = w->noticed;

	w->noticed = false;
	return noticed;
}

/* How often it rang does not matter. Workers share the descriptor, and can empty it and make it
 * blocking at any moment: the read itself says that it does not wait. */
static void on_bell(int fd, short what, void *arg)
{
	struct wake *w = arg;
	uint64_t rung;
	struct iovec into = { .iov_base = &rung, .iov_len = sizeof(rung) };

	(void)what;
	(void)!preadv2(fd, &into, 1, -1, RWF_NOWAIT);
	w->listening = false;
	w->noticed = true;
}

static void on_connection(int fd, short what, void *arg)
{
	struct wake *w = arg;

	(void)fd, (void)what;
	w->noticed = true;
}

uint64_t wake_hear(struct wake *w, int bell, uint64_t now)
{
	if (bell < 0 || w->listening)
		return UINT64_MAX;
	if (now < w->deaf_until)
		return w->deaf_until;
	if (w->bell == NULL)
		w->bell = event_new(w->base, bell, EV_READ, on_bell, w);
	w->listening = w->bell != NULL && event_add(w->bell, NULL) == 0;
	w->deaf_until = now + DEAF_MS;
	return UINT64_MAX;
}

/* One that was shut down is always ready, for nobody. */
void wake_watch(struct wake *w, const int *listeners, size_t count)
{
	wake_unwatch(w);
	w->connections = calloc(count, sizeof(struct event *));
	for (size_t i = 0; w->connections != NULL && i < count; i++) {
		if (!bind_is_alive(listeners[i]))
			continue;
		struct event *e = event_new(w->base, listeners[i], EV_READ, on_connection, w);
		if (e == NULL || event_add(e, NULL) != 0) {
			if (e != NULL)
				event_free(e);
			return;
		}
		w->connections[w->connection_count++] = e;
	}
}

void wake_unwatch(struct wake *w)
{
	for (size_t i = 0; i < w->connection_count; i++)
		event_free(w->connections[i]);
	free(w->connections);
	w->connections = NULL;
	w->connection_count = 0;
}
