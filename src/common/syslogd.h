/*
 * syslogd: sends lines to the syslog daemon, and never waits for it.
 *
 * syslog(3) waits when the daemon does not read; whoever supervises others must not. The protocol
 * is a datagram to /dev/log (RFC 3164, as syslog(3) writes it).
 */
#ifndef PREFORKD_SYSLOGD_H
#define PREFORKD_SYSLOGD_H

#include <stdbool.h>

/* False: there is no daemon, or it does not keep up; the line is lost. */
bool syslogd_send(int level, const char *line);

#endif
