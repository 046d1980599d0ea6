/*
 * route: what the gate answers to which URL, and to whom.
 */
#ifndef PREFORKD_ROUTE_H
#define PREFORKD_ROUTE_H

struct event_base;
struct gatejob;
struct line;
struct site;

/* Serves on the sockets of the job. gone is called when the last connection has gone after
 * route_close(). NULL on failure. */
struct site *route_open(struct event_base *base, const struct gatejob *job, struct line *line,
	void (*gone)(void *arg), void *arg);
void route_close(struct site *site);
void route_leave(struct site *site);

#endif
