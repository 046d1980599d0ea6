/*
 * crowd: lists of connections, and an index by descriptor.
 */
#include "worker/crowd.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define LINGER_MS 2000
#define FDS_AT_ONCE 256

void crowd_init(struct crowd *crowd, uint64_t head_ms, uint64_t kept_ms)
{
	for (int i = 0; i < CONN_LISTS; i++)
		TAILQ_INIT(&crowd->lists[i]);
	crowd->patience[CONN_KEPT] = kept_ms;
	crowd->patience[CONN_HEAD] = head_ms;
	crowd->patience[CONN_LINGERS] = LINGER_MS;
}

static bool make_room(struct crowd *crowd, int fd)
{
	size_t room = (size_t)fd + FDS_AT_ONCE;

	if ((size_t)fd < crowd->by_fd_room)
		return true;
	struct conn **table = reallocarray(crowd->by_fd, room, sizeof(struct conn *));
	if (table == NULL)
		return false;
	memset(table + crowd->by_fd_room, 0, (room - crowd->by_fd_room) * sizeof(struct conn *));
	crowd->by_fd = table;
	crowd->by_fd_room = room;
	return true;
}

/* A head has one time, whoever reads it. */
static uint64_t deadline_of(
	const struct crowd *crowd, struct conn *c, enum conn_list list, uint64_t now)
{
	uint64_t end = crowd->patience[list] > 0 ? now + crowd->patience[list] : 0;

	if (list == CONN_KEPT)
		c->head_due = 0;
	if (list != CONN_HEAD)
		return end;
	if (c->head_due == 0)
		c->head_due = end;
	return c->head_due < end ? c->head_due : end;
}

/* Mostly at the end. */
static void insert(struct crowd *crowd, struct conn *c)
{
	struct conn *before = TAILQ_LAST(&crowd->lists[c->list], crowd_list);

	while (before != NULL && before->deadline > c->deadline)
		before = TAILQ_PREV(before, crowd_list, link);
	if (before != NULL)
		TAILQ_INSERT_AFTER(&crowd->lists[c->list], before, c, link);
	else
		TAILQ_INSERT_HEAD(&crowd->lists[c->list], c, link);
}

bool crowd_put(struct crowd *crowd, struct conn *c, enum conn_list list, uint64_t now)
{
	if (c->list == list)
		return true;
	if (!make_room(crowd, c->fd))
		return false;
	crowd_take(crowd, c);
	crowd->by_fd[c->fd] = c;
	crowd->count++;
	c->list = list;
	c->deadline = deadline_of(crowd, c, list, now);
	insert(crowd, c);
	return true;
}

void crowd_take(struct crowd *crowd, struct conn *c)
{
	if (c->list == CONN_NOWHERE)
		return;
	TAILQ_REMOVE(&crowd->lists[c->list], c, link);
	crowd->by_fd[c->fd] = NULL;
	crowd->count--;
	c->list = CONN_NOWHERE;
}

struct conn *crowd_find(const struct crowd *crowd, int fd)
{
	return (size_t)fd < crowd->by_fd_room ? crowd->by_fd[fd] : NULL;
}

struct conn *crowd_first(const struct crowd *crowd, enum conn_list list)
{
	return TAILQ_FIRST(&crowd->lists[list]);
}

struct conn *crowd_victim(const struct crowd *crowd)
{
	static const enum conn_list order[] = { CONN_HEAD, CONN_LINGERS, CONN_KEPT };

	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++)
		if (!TAILQ_EMPTY(&crowd->lists[order[i]]))
			return TAILQ_FIRST(&crowd->lists[order[i]]);
	return TAILQ_LAST(&crowd->lists[CONN_PENDING], crowd_list);
}

struct conn *crowd_expired(const struct crowd *crowd, uint64_t now)
{
	for (int i = 0; i < CONN_LISTS; i++) {
		struct conn *c = TAILQ_FIRST(&crowd->lists[i]);

		if (c != NULL && c->deadline != 0 && c->deadline <= now)
			return c;
	}
	return NULL;
}

int crowd_wait(const struct crowd *crowd, uint64_t now)
{
	uint64_t first = UINT64_MAX;

	for (int i = 0; i < CONN_LISTS; i++) {
		const struct conn *c = TAILQ_FIRST(&crowd->lists[i]);

		if (c != NULL && c->deadline != 0 && c->deadline < first)
			first = c->deadline;
	}
	if (first == UINT64_MAX)
		return -1;
	if (first <= now)
		return 0;
	return first - now < INT_MAX ? (int)(first - now) : INT_MAX;
}
