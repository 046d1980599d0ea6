/*
 * reception: one epoll set for listeners, connections and whatever else the worker waits for.
 *
 * A connection stays in the set while it is served, which costs nothing: nobody asks for events
 * then. Whatever leaves the crowd for good leaves the set before, since it may be open elsewhere.
 * Several workers wait on one listener: EPOLLEXCLUSIVE wakes one of them for a connection.
 */
#include "worker/reception.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/conf.h"
#include "common/job.h"
#include "worker/kept.h"

#define SHORTAGE_MS 50 /* until descriptors or memory are tried again */
#define GIVEN_MOST 8   /* times; then it has its turn here */

/* To give a connection away costs as much as a short request. So where requests take long, siblings
 * get what waits here; where they are short, seldom: that is enough to share them out. What a
 * longer request leaves waiting is up to the porter. */
#define GIFT_MS 10 /* until there is one more */
#define GIFTS_MOST RECEPTION_EVENTS

int reception_watch(const struct reception *r, int fd, enum reception_source source, uint32_t flags)
{
	struct epoll_event event;

	reception_expect(&event, source, fd);
	event.events |= flags;
	return epoll_ctl(r->epoll, EPOLL_CTL_ADD, fd, &event);
}

void reception_ignore(const struct reception *r, int fd)
{
	epoll_ctl(r->epoll, EPOLL_CTL_DEL, fd, NULL);
}

/* At most half of the descriptors that the worker may have: the application needs some. */
static void arrange_crowd(struct reception *r)
{
	const struct conf_pool *pool = r->job->pool;
	struct rlimit limit;

	r->most = pool->max_connections;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur / 2 < r->most)
		r->most = (unsigned)(limit.rlim_cur / 2);
	crowd_init(&r->crowd, pool->receive_timeout, pool->keepalive_timeout);
}

static bool is_remote(int listener)
{
	struct sockaddr address = { .sa_family = AF_UNIX };
	socklen_t length = sizeof(address);

	return getsockname(listener, &address, &length) == 0 && address.sa_family != AF_UNIX;
}

size_t reception_index(const struct reception *r, int listener)
{
	size_t i = 0;

	while (i + 1 < r->job->listener_count && r->job->listeners[i] != listener)
		i++;
	return i;
}

/* Connections inherit TCP_NODELAY: an answer leaves in whole records, nothing is to wait for more.
 */
int reception_open(struct reception *r, const struct job *job)
{
	int on = 1;

	r->job = job;
	youth_init(&r->youth);
	arrange_crowd(r);
	r->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (r->epoll < 0 ||
		reception_watch(r, job->handover[1], RECEPTION_HANDOVER, EPOLLEXCLUSIVE) != 0)
		return -1;
	for (size_t i = 0; i < job->listener_count; i++) {
		r->remote[i] = is_remote(job->listeners[i]);
		setsockopt(job->listeners[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		if (reception_watch(r, job->listeners[i], RECEPTION_LISTENER, EPOLLEXCLUSIVE) != 0)
			return -1;
	}
	return 0;
}

/* Closing alone would not take it out of the set: it may be open elsewhere. */
void reception_drop(struct reception *r, struct conn *c)
{
	crowd_take(&r->crowd, c);
	if (c->watched)
		reception_ignore(r, c->fd);
	if (r->gone == NULL) {
		conn_free(c);
		return;
	}
	conn_close(c);
	TAILQ_INSERT_TAIL(r->gone, c, link);
}

/* Waits in the crowd for its next bytes. */
static void hold(struct reception *r, struct conn *c, enum conn_list list)
{
	bool fresh = list != CONN_PENDING && !c->watched;

	if (!crowd_put(&r->crowd, c, list, clock_ms()) ||
		(fresh && reception_watch(r, c->fd, RECEPTION_CONN, 0) != 0))
		reception_drop(r, c);
	else if (fresh)
		c->watched = true;
}

bool reception_give(struct reception *r, struct conn *c)
{
	const struct kept_parcel parcel = {
		.times = c->given < UINT8_MAX ? c->given + 1 : UINT8_MAX,
		.requests = c->requests,
		.head_due = c->head_due,
		.bytes = c->raw,
		.length = c->raw_length,
	};

	if (!conn_is_movable(c) || c->list == CONN_LINGERS ||
		!kept_send(r->job->handover[0], c->fd, &parcel))
		return false;
	reception_drop(r, c);
	return true;
}

/* The list of one that has no whole request. */
static enum conn_list list_of(const struct conn *c)
{
	return c->requests > 0 && conn_is_idle(c) ? CONN_KEPT : CONN_HEAD;
}

/* One that had no request yet, and has just come: that will be on its way. */
static bool may_speak(const struct reception *r, const struct conn *c)
{
	uint64_t patience = r->crowd.patience[CONN_HEAD];

	return c->requests == 0 &&
	       (c->deadline == 0 || clock_ms() + patience < c->deadline + RECEPTION_SILENT_MS);
}

/* The worker was busy, perhaps, when they came. */
static bool has_bytes(const struct conn *c)
{
	char byte;

	return recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

/* The time for its head is over, and all that has arrived has been read. */
static bool is_late(const struct conn *c)
{
	return c->head_due > 0 && c->head_due <= clock_ms();
}

/* It has no whole request: waits on, unless we leave and there is nobody to wait for. */
static void settle(struct reception *r, struct conn *c)
{
	if (is_late(c)) {
		reception_drop(r, c);
		return;
	}
	if ((r->leaving || r->resting) && !r->alone && reception_give(r, c))
		return;
	if (conn_is_idle(c) && r->leaving && r->alone && !may_speak(r, c) && !has_bytes(c))
		reception_drop(r, c);
	else
		hold(r, c, list_of(c));
}

void reception_linger(struct reception *r, struct conn *c)
{
	shutdown(c->fd, SHUT_WR);
	hold(r, c, CONN_LINGERS);
}

/* Where nobody else is here, one that has come just now has a moment: it holds nobody. */
static enum conn_state read_first(struct reception *r, struct conn *c)
{
	size_t most = r->job->pool->max_head;
	bool waits = youth_may_wait(c);
	enum conn_state state = conn_read(c, &r->input, most, waits);

	if (!waits && (state != CONN_WAITS || !conn_is_idle(c)))
		return state;
	if (!waits && youth_speaks(c))
		state = conn_read(c, &r->input, most, false);
	youth_waited(&r->youth, c, state);
	return state;
}

/* Before it is too late for one, all that can have arrived in time is read: the first was what a
 * sibling had read, perhaps, or as much as is read at once. No more than a head can have. */
static enum conn_state read_all(struct reception *r, struct conn *c)
{
	size_t most = r->job->pool->max_head, more = most / CONN_INPUT + 1;
	enum conn_state state = conn_read(c, &r->input, most, false);

	for (; state == CONN_WAITS && is_late(c) && more > 0 && has_bytes(c); more--)
		state = conn_read(c, &r->input, most, false);
	return state;
}

struct conn *reception_read(struct reception *r, struct conn *c)
{
	bool alone = r->crowd.count == 0 && !r->leaving && !r->resting;
	enum conn_state state =
		alone && youth_trusts(&r->youth, c) ? read_first(r, c) : read_all(r, c);

	if (state == CONN_READY && c->requests == 0)
		youth_earn(&r->youth);
	switch (state) {
	case CONN_READY:
		crowd_take(&r->crowd, c); /* or it could go to make room for others */
		return c;
	case CONN_WAITS:
		settle(r, c);
		break;
	case CONN_SHUT:
		reception_linger(r, c);
		break;
	case CONN_OVER:
		reception_drop(r, c);
		break;
	}
	return NULL;
}

enum reception_source reception_source(const struct epoll_event *event)
{
	return (enum reception_source)(event->data.u64 >> 32);
}

int reception_fd(const struct epoll_event *event)
{
	return (int)(uint32_t)event->data.u64;
}

void reception_expect(struct epoll_event *event, enum reception_source source, int fd)
{
	*event = (struct epoll_event){ .events = EPOLLIN,
		.data.u64 = ((uint64_t)source << 32) | (uint32_t)fd };
}

/* Nothing can be accepted: the listener was shut down, by the master at the end or by somebody who
 * shares it, or descriptors or memory are short. Both would make the loop spin. */
static void mend_accept(struct reception *r, int listener)
{
	if (errno == EINVAL) {
		reception_ignore(r, listener);
		return;
	}
	if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM)
		return;
	struct conn *victim = crowd_victim(&r->crowd);
	if (victim != NULL)
		reception_drop(r, victim);
	else
		poll(NULL, 0, SHORTAGE_MS);
}

/* There is room for it: the oldest without a request goes. */
static struct conn *welcome(struct reception *r, int fd)
{
	unsigned reqs = r->job->pool->workers.max;
	struct conn *c = conn_new(fd, reqs * r->most, reqs, r->roles);

	if (c == NULL)
		close(fd);
	struct conn *victim = r->crowd.count >= r->most ? crowd_victim(&r->crowd) : NULL;
	if (victim != NULL)
		reception_drop(r, victim);
	return c;
}

struct conn *reception_accept(struct reception *r, int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0) {
		mend_accept(r, listener);
		return NULL;
	}
	struct conn *c = welcome(r, fd);
	if (c != NULL)
		c->remote = r->remote[reception_index(r, listener)];
	return c;
}

struct conn *reception_receive(struct reception *r, int handover)
{
	struct kept_parcel parcel = { .bytes = r->parcel, .length = sizeof(r->parcel) };
	int fd = kept_receive(handover, &parcel);

	if (fd < 0 && errno == EPIPE)
		reception_ignore(r, handover);
	struct conn *c = fd >= 0 ? welcome(r, fd) : NULL;
	if (c == NULL)
		return NULL;
	c->requests = parcel.requests;
	c->given = parcel.times;
	c->head_due = parcel.head_due;
	if (conn_push(c, parcel.bytes, parcel.length))
		return c;
	reception_drop(r, c);
	return NULL;
}

struct conn *reception_connection(struct reception *r, const struct epoll_event *event)
{
	struct conn *c;

	switch (reception_source(event)) {
	case RECEPTION_HANDOVER:
		return reception_receive(r, reception_fd(event));
	case RECEPTION_LISTENER:
		return reception_accept(r, reception_fd(event));
	case RECEPTION_CONN:
		c = crowd_find(&r->crowd, reception_fd(event));
		if (c == NULL || c->list != CONN_LINGERS)
			return c;
		if (conn_linger(c, &r->input))
			hold(r, c, CONN_LINGERS);
		else
			reception_drop(r, c);
		return NULL;
	default:
		return NULL;
	}
}

/* Stays here, and joins those that wait for their turn if something has arrived: the set shows a
 * few at a time, and could leave out the same for ever. */
static void hold_on(struct reception *r, struct conn *c)
{
	if (c->list == CONN_NOWHERE)
		hold(r, c, c->raw_unread ? CONN_PENDING : list_of(c));
	else if (c->list != CONN_LINGERS)
		hold(r, c, CONN_PENDING);
}

/* One that was given away waits still: then all are busy, and would only push them to and fro. */
bool reception_is_generous(struct reception *r, bool slow)
{
	uint64_t more = (clock_ms() - r->gifts_at) / GIFT_MS;

	r->gifts_at += more * GIFT_MS;
	r->gifts = slow || more > GIFTS_MOST - r->gifts ? GIFTS_MOST : r->gifts + (unsigned)more;
	return r->gifts > 0 && !kept_is_waiting(r->job->handover[0]);
}

/* We can serve one, and were perhaps the only one to be woken for the others: siblings get them.
 * One that went round without meeting an idle worker stays: it might do so for ever. */
void reception_pass_on(struct reception *r, const struct epoll_event *event, bool generous)
{
	bool is_conn = reception_source(event) == RECEPTION_CONN;
	bool goes = generous && r->gifts > 0;

	if (!goes && !is_conn) {
		r->left = true;
		return;
	}
	struct conn *c = is_conn ? crowd_find(&r->crowd, reception_fd(event))
				 : reception_connection(r, event);
	if (c == NULL)
		return;
	if (!goes || c->given >= GIVEN_MOST || !reception_give(r, c))
		hold_on(r, c);
	else
		r->gifts--;
}

struct conn *reception_give_up(struct reception *r, const struct epoll_event *event)
{
	bool is_conn = reception_source(event) == RECEPTION_CONN;
	struct conn *c = is_conn ? reception_connection(r, event) : NULL;

	if (c == NULL || reception_give(r, c))
		return NULL;
	if (!conn_is_movable(c) || !kept_has_siblings(r->job->handover[0]))
		return reception_read(r, c);
	poll(NULL, 0, RECEPTION_CROWDED_MS);
	hold_on(r, c);
	return NULL;
}

bool reception_offer(struct reception *r)
{
	static const enum conn_list lists[] = { CONN_PENDING, CONN_HEAD, CONN_KEPT };
	struct conn *c, *next;
	bool left = false;

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		for (c = crowd_first(&r->crowd, lists[i]); c != NULL; c = next) {
			next = TAILQ_NEXT(c, link);
			left = (!reception_give(r, c) && conn_is_movable(c)) || left;
		}
	return left;
}

/* It may serve no more: nothing new comes in, and what is here goes. */
void reception_rest(struct reception *r)
{
	r->resting = true;
	reception_ignore(r, r->job->handover[1]);
	for (size_t i = 0; i < r->job->listener_count; i++)
		reception_ignore(r, r->job->listeners[i]);
	reception_offer(r);
}

/* Whoever has sent its next request already gets an answer to that, too. */
static bool is_worn_out(const struct reception *r, const struct conn *c)
{
	unsigned most = r->job->pool->keepalive_max;

	return most > 0 && c->requests >= most && !c->raw_unread && !has_bytes(c);
}

void reception_put_back(struct reception *r, struct conn *c)
{
	c->given = 0;
	if (c->requests < UINT32_MAX)
		c->requests++;
	if (!conn_next(c, &r->input) || is_worn_out(r, c))
		reception_drop(r, c);
	else if (c->raw_unread)
		hold(r, c, CONN_PENDING);
	else
		settle(r, c);
}

/* What has arrived is read first: in settle() it shows whether that was enough. */
static void expire(struct reception *r, struct conn *c)
{
	if (c->list == CONN_LINGERS || !has_bytes(c))
		reception_drop(r, c);
	else
		hold(r, c, CONN_PENDING);
}

void reception_expire(struct reception *r)
{
	uint64_t now = r->crowd.count > 0 ? clock_ms() : 0;
	struct conn *c;

	while (r->crowd.count > 0 && (c = crowd_expired(&r->crowd, now)) != NULL)
		expire(r, c);
}

/* What waits for its turn is an event as well. */
static int add_pending(const struct reception *r, struct epoll_event *events, int n)
{
	const struct conn *pending = crowd_first(&r->crowd, CONN_PENDING);

	if (pending != NULL)
		reception_expect(&events[n++], RECEPTION_CONN, pending->fd);
	return n;
}

/* Without connections there is no clock to look at. */
int reception_wait(struct reception *r, struct epoll_event *events, int limit)
{
	int wait = r->crowd.count > 0 ? crowd_wait(&r->crowd, clock_ms()) : -1;
	if (crowd_first(&r->crowd, CONN_PENDING) != NULL)
		wait = 0;
	if (limit >= 0 && (wait < 0 || wait > limit))
		wait = limit;
	int n = epoll_wait(r->epoll, events, RECEPTION_EVENTS - 1, wait);
	return add_pending(r, events, n > 0 ? n : 0);
}
