/*
 * notify: tell systemd, or whoever set NOTIFY_SOCKET, how we are (sd_notify(3)).
 */
#ifndef PREFORKD_NOTIFY_H
#define PREFORKD_NOTIFY_H

struct event_base;

/* Reads NOTIFY_SOCKET and WATCHDOG_USEC, WATCHDOG_PID, and clears them, so that no worker has them.
 */
void notify_init(void);
/* Sends the state ("READY=1\nSTATUS=..."); does nothing where nobody listens. */
void notify_send(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Sends WATCHDOG=1 from this loop, twice as often as is asked for; nothing where it is not. -1
 * without memory. */
int notify_keep_alive(struct event_base *base);

#endif
