/*
 * units: text to numbers and back: integers, durations, sizes, modes, signals, addresses, networks.
 *
 * Pure: no system call, no name service, no clock. Every parser takes the whole string or refuses
 * it with a reason that fits into "KEY: REASON".
 */
#ifndef PREFORKD_UNITS_H
#define PREFORKD_UNITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct err;

enum address_kind { ADDRESS_TCP, ADDRESS_UNIX, ADDRESS_ABSTRACT, ADDRESS_FD };

struct address {
	enum address_kind kind;
	bool wildcard; /* "*:PORT": every address, IPv6 and IPv4 in one socket where there is IPv6
			*/
	struct sockaddr_storage sa; /* not for ADDRESS_FD */
	socklen_t len;
	char text[128]; /* canonical: parses back to the same; for ADDRESS_FD "fd:NAME" */
};

struct network {
	int family; /* AF_INET or AF_INET6 */
	uint8_t bytes[16];
	unsigned prefix;
};

/* All return 0, or -1 with *err filled (code EX_CONFIG) and the output untouched. */
int units_number(const char *text, uint64_t min, uint64_t max, uint64_t *out, struct err *err);
/* "4" or "2..32", from min to max, at least 1 at the top; *low may be as low as min */
int units_range(const char *text, unsigned min, unsigned max, unsigned *low, unsigned *high,
	struct err *err);
/* "30s", "500ms", "2m", "1h", "1d"; a bare number is seconds; result in milliseconds. */
int units_duration(const char *text, uint64_t *ms, struct err *err);
/* "64M", "1G", "512K", a bare number is bytes; powers of 1024. */
int units_size(const char *text, uint64_t *bytes, struct err *err);
/* octal, 0 to max: "0660", "022" */
int units_mode(const char *text, unsigned max, unsigned *mode, struct err *err);
/* "TERM", "SIGTERM" or a number; KILL and STOP are refused */
int units_signal(const char *text, int *signo, struct err *err);
int units_bool(const char *text, bool *out, struct err *err);
/* 127.0.0.1:9000  [::1]:9000  *:9000  /run/x.sock  @abstract  fd:NAME */
int units_address(const char *text, struct address *out, struct err *err);
/* 10.0.0.0/8  ::1  2001:db8::/32; host bits set beyond the prefix are refused */
int units_network(const char *text, struct network *out, struct err *err);

/* The way back; each writes what its parser reads to the same value. Return out. */
char *units_duration_text(uint64_t ms, char *out, size_t size);
char *units_size_text(uint64_t bytes, char *out, size_t size);
char *units_network_text(const struct network *network, char *out, size_t size);
const char *units_signal_name(int signo); /* "TERM"; "SIG?" for an unknown number */

#endif
