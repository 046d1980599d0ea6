/*
 * porter: ticks while requests are served, listens while one of them takes long, else sleeps.
 *
 * One key goes with the reception: the thread that serves has it always, but for the time of a
 * request. So the crowd of connections stands still while the porter listens, and all that it has
 * to ask when something arrives is whether that is still the same request. It never waits for the
 * key, and never calls malloc(3) or free(3), which would cost it an arena of its own. It has a set
 * of its own to listen: in the worker's it would be woken in the place of a sibling, and poll(2)
 * keeps open what the other thread closes meanwhile.
 *
 * A child that the application forks has no porter. It must exec or exit, and never return.
 */
#include "worker/porter.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/board.h"
#include "common/conf.h"
#include "common/job.h"
#include "worker/conn.h"
#include "worker/kept.h"
#include "worker/reception.h"

#define TICK_MS 10
#define STACK_SIZE 65536
#define EVENTS 16
#define ADD_AT_ONCE 64     /* connections, before the worker may have its reception back */
#define HIRE_AGAIN_AT 1000 /* requests */

/* Is it this request that is served, still? Then we have the key. Without a master siblings leave,
 * and take nothing. */
static bool enter(struct porter *p, unsigned turn)
{
	if (pthread_mutex_trylock(&p->key) != 0)
		return false;
	if (atomic_load(&p->turn) == turn && getppid() == p->job->master) {
		p->reception->gone = &p->gone;
		return true;
	}
	pthread_mutex_unlock(&p->key);
	return false;
}

/* The board says how many connections are left, beside the one that is served. */
static void leave(struct porter *p)
{
	board_hold(p->seat, p->reception->crowd.count + 1);
	p->reception->gone = NULL;
	pthread_mutex_unlock(&p->key);
}

static bool add_ear(const struct porter *p, int fd)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLONESHOT, .data.fd = fd };

	return epoll_ctl(p->ears, EPOLL_CTL_ADD, fd, &event) == 0;
}

/* What cannot be given away waits for this worker. False: the request is over. */
static bool hear_list(struct porter *p, unsigned turn, enum conn_list list)
{
	unsigned added = 0;

	for (struct conn *c = crowd_first(&p->reception->crowd, list); c != NULL;
		c = TAILQ_NEXT(c, link)) {
		if (conn_is_movable(c))
			add_ear(p, c->fd);
		if (++added % ADD_AT_ONCE != 0)
			continue;
		leave(p);
		if (!enter(p, turn))
			return false;
	}
	return true;
}

/* What has been read already will never be heard. False: no sibling can have it now. */
static bool pass_pending(struct porter *p)
{
	struct conn *c, *next;

	for (c = crowd_first(&p->reception->crowd, CONN_PENDING); c != NULL; c = next) {
		next = TAILQ_NEXT(c, link);
		if (conn_is_movable(c) && !reception_give(p->reception, c))
			return false;
	}
	return true;
}

/* False: it was not what it seemed, or no sibling can have it now. */
static bool pass(struct porter *p, struct conn *c)
{
	char byte;
	ssize_t n = recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n > 0)
		return reception_give(p->reception, c);
	reception_drop(p->reception, c); /* the client has gone */
	return true;
}

static bool pass_heard(struct porter *p, const struct epoll_event *events, int count)
{
	bool well = true;

	for (int i = 0; i < count; i++) {
		struct conn *c = crowd_find(&p->reception->crowd, events[i].data.fd);

		if (c != NULL && !pass(p, c))
			well = false;
	}
	return well;
}

/* The bell has been rung, or will be at once. */
static void hear_bell(const struct porter *p)
{
	uint64_t rung;

	(void)!read(p->bell, &rung, sizeof(rung));
}

/* Until the request is over, or something could not be given away: that is tried again later, with
 * all from the start. Each change that the other thread makes to our state is one that it rings
 * for. */
static void listen_and_pass(struct porter *p, unsigned turn)
{
	struct epoll_event events[EVENTS];
	bool well = true;

	while (well) {
		int n = epoll_wait(p->ears, events, EVENTS, -1);

		if (!enter(p, turn))
			break;
		well = pass_heard(p, events, n);
		leave(p);
	}
	if (atomic_exchange(&p->state, PORTER_WALKS) == PORTER_WALKS)
		hear_bell(p);
}

static void look_after(struct porter *p, unsigned turn)
{
	if (!enter(p, turn))
		return;
	if (p->reception->left)
		kept_nudge(p->job->handover[0]);
	p->ears = epoll_create1(EPOLL_CLOEXEC);
	if (p->ears < 0 || !add_ear(p, p->bell) || !pass_pending(p)) {
		leave(p);
	} else if (hear_list(p, turn, CONN_KEPT) && hear_list(p, turn, CONN_HEAD)) {
		atomic_store(&p->state, PORTER_LISTENS);
		leave(p);
		listen_and_pass(p, turn);
	}
	if (p->ears >= 0)
		close(p->ears);
}

static void sleep_until_bell(struct porter *p, unsigned turn)
{
	atomic_store(&p->state, PORTER_SLEEPS);
	if (atomic_load(&p->turn) == turn ||
		atomic_exchange(&p->state, PORTER_WALKS) == PORTER_WALKS)
		hear_bell(p);
}

static void *walk(void *arg) __attribute__((noreturn));

static void *walk(void *arg)
{
	struct porter *p = arg;

	pthread_setname_np(pthread_self(), "porter");
	for (;;) {
		unsigned before = atomic_load(&p->turn);

		poll(NULL, 0, TICK_MS);
		unsigned turn = atomic_load(&p->turn);
		if (turn != before)
			continue;
		if (turn % 2 == 1)
			look_after(p, turn);
		else
			sleep_until_bell(p, turn);
	}
}

/* All signals are for the thread that serves: some interrupt a request, and answer it. */
static int start_thread(struct porter *p)
{
	pthread_attr_t attr;
	sigset_t all, ours;
	pthread_t thread;

	sigfillset(&all);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_sigmask(SIG_SETMASK, &all, &ours);
	int error = pthread_create(&thread, &attr, walk, p);
	pthread_sigmask(SIG_SETMASK, &ours, NULL);
	pthread_attr_destroy(&attr);
	return error;
}

/* Where there can be none, connections wait for the worker. */
static bool hire(struct porter *p)
{
	if (p->refused++ % HIRE_AGAIN_AT != 0)
		return false;
	p->bell = eventfd(0, EFD_CLOEXEC);
	atomic_store(&p->state, PORTER_WALKS);
	int error = p->bell < 0 ? errno : start_thread(p);
	p->is_there = error == 0;
	if (error != 0 && p->bell >= 0)
		close(p->bell);
	if (error != 0 && p->refused == 1)
		fprintf(stderr,
			"cannot start a thread: %s; what arrives on connections that are kept open "
			"has to wait while this worker is busy\n",
			strerror(error));
	return p->is_there;
}

void porter_init(struct porter *p, const struct job *job, const struct board_seat *seat,
	struct reception *reception)
{
	p->job = job;
	p->seat = seat;
	p->reception = reception;
	TAILQ_INIT(&p->gone);
	pthread_mutex_init(&p->key, NULL);
	pthread_mutex_lock(&p->key);
}

static void rouse(struct porter *p, enum porter_state from)
{
	const uint64_t ring = 1;

	if (atomic_load(&p->state) == from &&
		atomic_compare_exchange_strong(&p->state, &from, PORTER_WALKS))
		(void)!write(p->bell, &ring, sizeof(ring));
}

static bool others_wait(const struct reception *r)
{
	const struct crowd *crowd = &r->crowd;

	return r->left || crowd_first(crowd, CONN_KEPT) != NULL ||
	       crowd_first(crowd, CONN_HEAD) != NULL || crowd_first(crowd, CONN_PENDING) != NULL;
}

void porter_begin(struct porter *p)
{
	if (p->job->pool->workers.max < 2 || !others_wait(p->reception))
		return;
	if (!p->is_there && !hire(p))
		return;
	p->lent = true;
	atomic_fetch_add(&p->turn, 1);
	rouse(p, PORTER_SLEEPS);
	pthread_mutex_unlock(&p->key);
}

void porter_end(struct porter *p)
{
	struct conn *c;

	if (!p->lent)
		return;
	p->lent = false;
	pthread_mutex_lock(&p->key);
	atomic_fetch_add(&p->turn, 1);
	rouse(p, PORTER_LISTENS);
	while ((c = TAILQ_FIRST(&p->gone)) != NULL) {
		TAILQ_REMOVE(&p->gone, c, link);
		conn_free(c);
	}
}
