/*
 * notify: tell systemd, or whoever set NOTIFY_SOCKET, how we are (sd_notify(3)).
 */
#ifndef PREFORKD_NOTIFY_H
#define PREFORKD_NOTIFY_H

#include <stdint.h>

/* Reads NOTIFY_SOCKET and WATCHDOG_USEC, WATCHDOG_PID, and clears them, so that no worker has them.
 */
void notify_init(void);
/* Sends the state ("READY=1\nSTATUS=..."); does nothing where nobody listens. */
void notify_send(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Milliseconds between two WATCHDOG=1, half of what is asked for; 0: not asked for. */
uint64_t notify_watchdog(void);

#endif
