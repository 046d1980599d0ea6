/*
 * units: text to numbers and back.
 *
 * What a person writes into a configuration file, or after an option, becomes a value here, or a
 * reason that names what was written and what would be right. Must never guess: trailing text,
 * signs, blanks and overflow are refused. Makes no system call and asks no name service.
 */
#include "common/units.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>
#include <sysexits.h>

#include "common/err.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct unit {
	const char *name;
	uint64_t factor;
};

/* From the largest on: the way back takes the first that divides. */
static const struct unit durations[] = { { "d", 86400000 }, { "h", 3600000 }, { "m", 60000 },
	{ "s", 1000 }, { "ms", 1 } };
static const struct unit sizes[] = { { "T", 1ull << 40 }, { "G", 1ull << 30 }, { "M", 1ull << 20 },
	{ "K", 1ull << 10 } };

/* Reads the digits that text begins with. Returns how many there are; 0 also when they overflow. */
static size_t digits(const char *text, unsigned base, uint64_t *out)
{
	uint64_t value = 0;
	size_t n = 0;

	for (; text[n] >= '0' && (unsigned)(text[n] - '0') < base; n++)
		if (__builtin_mul_overflow(value, base, &value) ||
			__builtin_add_overflow(value, (uint64_t)(text[n] - '0'), &value))
			return 0;
	*out = value;
	return n;
}

static bool is_digits(const char *text)
{
	return text[0] != '\0' && text[strspn(text, "0123456789")] == '\0';
}

int units_number(const char *text, uint64_t min, uint64_t max, uint64_t *out, struct err *err)
{
	uint64_t value;

	if (text[0] == '\0')
		return err_set(err, EX_CONFIG, "a number is missing");
	if (!is_digits(text))
		return err_set(err, EX_CONFIG, "\"%s\" is not a whole number", text);
	if (digits(text, 10, &value) == 0 || value < min || value > max)
		return err_set(err, EX_CONFIG, "%s is out of range: %" PRIu64 " to %" PRIu64, text,
			min, max);
	*out = value;
	return 0;
}

int units_range(const char *text, unsigned min, unsigned max, unsigned *low, unsigned *high,
	struct err *err)
{
	const char *dots = strstr(text, "..");
	char first[24];
	uint64_t a, b;

	if (dots == NULL) {
		if (units_number(text, min > 1 ? min : 1, max, &a, err) != 0)
			return -1;
		*low = *high = (unsigned)a;
		return 0;
	}
	if ((size_t)(dots - text) >= sizeof(first))
		return err_set(err, EX_CONFIG, "\"%s\" is not MIN..MAX", text);
	memcpy(first, text, (size_t)(dots - text));
	first[dots - text] = '\0';
	if (units_number(first, min, max, &a, err) != 0 ||
		units_number(dots + 2, min > 1 ? min : 1, max, &b, err) != 0)
		return -1;
	if (a > b)
		return err_set(err, EX_CONFIG, "%s is out of order: MIN is more than MAX", text);
	*low = (unsigned)a;
	*high = (unsigned)b;
	return 0;
}

/* 0 with *out filled; 1: not of this form; 2: too large */
static int scaled(
	const char *text, const struct unit *units, size_t count, uint64_t bare, uint64_t *out)
{
	uint64_t value = 0, factor = 0;
	size_t length = strspn(text, "0123456789");

	if (length == 0)
		return 1;
	if (text[length] == '\0')
		factor = bare;
	for (size_t i = 0; i < count; i++)
		if (strcmp(text + length, units[i].name) == 0)
			factor = units[i].factor;
	if (factor == 0)
		return 1;
	if (digits(text, 10, &value) == 0 || __builtin_mul_overflow(value, factor, &value) ||
		value > INT64_MAX)
		return 2;
	*out = value;
	return 0;
}

int units_duration(const char *text, uint64_t *ms, struct err *err)
{
	switch (scaled(text, durations, COUNT(durations), 1000, ms)) {
	case 0:
		return 0;
	case 1:
		return err_set(err, EX_CONFIG,
			"\"%s\" is not a duration: write a whole number with ms, s, m, h or d, "
			"as in 30s",
			text);
	default:
		return err_set(err, EX_CONFIG, "\"%s\" is too long a time", text);
	}
}

int units_size(const char *text, uint64_t *bytes, struct err *err)
{
	switch (scaled(text, sizes, COUNT(sizes), 1, bytes)) {
	case 0:
		return 0;
	case 1:
		return err_set(err, EX_CONFIG,
			"\"%s\" is not a size: write a whole number of bytes, or with K, M, G or "
			"T, "
			"as in 64M",
			text);
	default:
		return err_set(err, EX_CONFIG, "\"%s\" is too large a size", text);
	}
}

int units_mode(const char *text, unsigned max, unsigned *mode, struct err *err)
{
	uint64_t value = 0;

	if (text[0] == '\0' || text[strspn(text, "01234567")] != '\0')
		return err_set(err, EX_CONFIG, "\"%s\" is not an octal mode, as in 0660", text);
	if (digits(text, 8, &value) == 0 || value > max)
		return err_set(err, EX_CONFIG, "mode %s is out of range: 0 to %#o", text, max);
	*mode = (unsigned)value;
	return 0;
}

int units_signal(const char *text, int *signo, struct err *err)
{
	const char *name = strncasecmp(text, "SIG", 3) == 0 ? text + 3 : text;
	uint64_t number = 0;

	if (is_digits(text)) {
		if (units_number(text, 1, NSIG - 1, &number, err) != 0)
			return -1;
	} else {
		for (int i = 1; i < NSIG && number == 0; i++) {
			const char *known = sigabbrev_np(i);
			if (known != NULL && strcasecmp(known, name) == 0)
				number = (uint64_t)i;
		}
	}
	if (number == 0)
		return err_set(err, EX_CONFIG,
			"\"%s\" is not a signal: TERM, INT, QUIT, HUP, USR1 and USR2 are", text);
	if (number == SIGKILL || number == SIGSTOP)
		return err_set(err, EX_CONFIG, "%s cannot be handled by a program", text);
	*signo = (int)number;
	return 0;
}

const char *units_signal_name(int signo)
{
	const char *name = sigabbrev_np(signo);

	return name != NULL ? name : "SIG?";
}

int units_bool(const char *text, bool *out, struct err *err)
{
	static const char *const words[] = { "no", "yes", "off", "on", "false", "true", "0", "1" };

	for (size_t i = 0; i < COUNT(words); i++)
		if (strcasecmp(text, words[i]) == 0) {
			*out = i % 2 == 1;
			return 0;
		}
	return err_set(err, EX_CONFIG, "\"%s\" is neither yes nor no", text);
}

static char *scaled_text(
	uint64_t value, const struct unit *units, size_t count, char *out, size_t size)
{
	for (size_t i = 0; i < count && value > 0; i++)
		if (value % units[i].factor == 0) {
			snprintf(
				out, size, "%" PRIu64 "%s", value / units[i].factor, units[i].name);
			return out;
		}
	snprintf(out, size, "%" PRIu64, value);
	return out;
}

char *units_duration_text(uint64_t ms, char *out, size_t size)
{
	return scaled_text(ms, durations, COUNT(durations), out, size);
}

char *units_size_text(uint64_t bytes, char *out, size_t size)
{
	return scaled_text(bytes, sizes, COUNT(sizes), out, size);
}

/* The address as people and logs write it; what it says parses back to the same. */
static void address_text(struct address *address)
{
	char host[INET6_ADDRSTRLEN];
	const struct sockaddr_in *in4 = (const struct sockaddr_in *)&address->sa;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&address->sa;

	if (address->sa.ss_family == AF_INET) {
		inet_ntop(AF_INET, &in4->sin_addr, host, sizeof(host));
		snprintf(address->text, sizeof(address->text), "%s:%u", host, ntohs(in4->sin_port));
	} else if (address->wildcard) {
		snprintf(address->text, sizeof(address->text), "*:%u", ntohs(in6->sin6_port));
	} else {
		inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
		snprintf(address->text, sizeof(address->text), "[%s]:%u", host,
			ntohs(in6->sin6_port));
	}
}

static int unix_address(const char *text, struct address *out, struct err *err)
{
	struct sockaddr_un *un = (struct sockaddr_un *)&out->sa;
	size_t length = strlen(text);

	if (length < 2 || text[length - 1] == '/')
		return err_set(err, EX_CONFIG, "\"%s\" does not end with a name", text);
	/* A path is a string: its NUL counts, that of an abstract name stands in front instead. */
	if (length > sizeof(un->sun_path) - (text[0] == '@' ? 0 : 1))
		return err_set(err, EX_CONFIG,
			"\"%s\" is too long for a unix socket: at most %zu bytes", text,
			sizeof(un->sun_path) - 1);
	un->sun_family = AF_UNIX;
	memcpy(un->sun_path, text, length);
	out->kind = text[0] == '@' ? ADDRESS_ABSTRACT : ADDRESS_UNIX;
	if (out->kind == ADDRESS_ABSTRACT)
		un->sun_path[0] = '\0';
	out->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length +
			       (out->kind == ADDRESS_ABSTRACT ? 0 : 1));
	memcpy(out->text, text, length + 1);
	return 0;
}

static int fd_address(const char *text, struct address *out, struct err *err)
{
	size_t length = strlen(text);

	if (text[3] == '\0' || strchr(text + 3, ':') != NULL || length >= sizeof(out->text))
		return err_set(
			err, EX_CONFIG, "\"%s\" does not name a passed socket: fd:NAME", text);
	out->kind = ADDRESS_FD;
	memcpy(out->text, text, length + 1);
	return 0;
}

static int tcp_host(const char *text, const char *host, struct address *out, struct err *err)
{
	struct sockaddr_in *in4 = (struct sockaddr_in *)&out->sa;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&out->sa;

	out->wildcard = strcmp(host, "*") == 0 && text[0] == '*';
	in6->sin6_family = AF_INET6; /* in6addr_any for the wildcard: all zero already */
	out->len = sizeof(*in6);
	if (out->wildcard || (text[0] == '[' && inet_pton(AF_INET6, host, &in6->sin6_addr) == 1))
		return 0;
	if (text[0] == '[')
		return err_set(err, EX_CONFIG, "\"%s\" is not an IPv6 address", host);
	in4->sin_family = AF_INET;
	out->len = sizeof(*in4);
	if (inet_pton(AF_INET, host, &in4->sin_addr) == 1)
		return 0;
	if (host[0] == '\0')
		return err_set(err, EX_CONFIG, "\"%s\" has no host: *%s listens on every address",
			text, text);
	if (strchr(host, ':') != NULL)
		return err_set(err, EX_CONFIG,
			"\"%s\": an IPv6 address stands in brackets, as in [::1]:9000", text);
	return err_set(err, EX_CONFIG,
		"\"%s\" is not a numeric address, and names are not looked up: write one as in "
		"127.0.0.1:9000",
		host);
}

/* The colon before the port, or NULL with *err filled. */
static const char *port_colon(const char *text, struct err *err)
{
	const char *colon = strrchr(text, ':'), *bracket = strrchr(text, ']');

	if (text[0] == '[' && bracket == NULL)
		err_set(err, EX_CONFIG, "\"%s\" has no closing bracket", text);
	else if (text[0] == '[' && bracket[1] == '\0')
		err_set(err, EX_CONFIG, "\"%s\" has no port: write %s:9000", text, text);
	else if (text[0] == '[' && bracket[1] != ':')
		err_set(err, EX_CONFIG, "\"%s\": after ] comes :PORT", text);
	else if (text[0] == '[')
		return bracket + 1;
	else if (colon != NULL)
		return colon;
	else if (is_digits(text))
		err_set(err, EX_CONFIG,
			"\"%s\" needs a host, as in 127.0.0.1:%s, or *:%s for every address", text,
			text, text);
	else
		err_set(err, EX_CONFIG,
			"\"%s\" is not an address: write HOST:PORT, an absolute path, @NAME or "
			"fd:NAME",
			text);
	return NULL;
}

static int tcp_address(const char *text, struct address *out, struct err *err)
{
	char host[INET6_ADDRSTRLEN + 1];
	uint64_t port = 0;
	const char *colon = port_colon(text, err);
	const char *start = text[0] == '[' ? text + 1 : text;

	if (colon == NULL)
		return -1;
	if (units_number(colon + 1, 1, 65535, &port, NULL) != 0)
		return err_set(
			err, EX_CONFIG, "\"%s\": the port is a number from 1 to 65535", text);
	size_t length = (size_t)(colon - start) - (text[0] == '[' ? 1 : 0);
	if (length >= sizeof(host))
		return err_set(err, EX_CONFIG, "\"%s\" is not a numeric address", text);
	memcpy(host, start, length);
	host[length] = '\0';
	if (tcp_host(text, host, out, err) != 0)
		return -1;
	out->kind = ADDRESS_TCP;
	/* The port stands at the same place in both families. */
	((struct sockaddr_in *)&out->sa)->sin_port = htons((uint16_t)port);
	address_text(out);
	return 0;
}

int units_address(const char *text, struct address *out, struct err *err)
{
	struct address address = { 0 };
	int rc;

	if (text[0] == '\0')
		return err_set(err, EX_CONFIG, "an address is missing");
	for (const char *p = text; *p != '\0'; p++)
		if (iscntrl((unsigned char)*p))
			return err_set(err, EX_CONFIG, "\"%s\" has a control character", text);
	if (text[0] == '/' || text[0] == '@')
		rc = unix_address(text, &address, err);
	else if (strncmp(text, "fd:", 3) == 0)
		rc = fd_address(text, &address, err);
	else if (strncmp(text, "unix:", 5) == 0)
		rc = err_set(err, EX_CONFIG, "\"%s\": write the path alone", text);
	else
		rc = tcp_address(text, &address, err);
	if (rc == 0)
		*out = address;
	return rc;
}

/* Clears the bits beyond the prefix; says whether any was set. */
static bool cut_host_bits(struct network *network, size_t bytes)
{
	bool cut = false;

	for (size_t i = 0; i < bytes; i++) {
		unsigned bits = network->prefix > 8 * i ? network->prefix - 8 * (unsigned)i : 0;
		uint8_t mask = (uint8_t)(bits >= 8 ? 0xff : 0xff00 >> bits);
		cut |= (network->bytes[i] & ~mask) != 0;
		network->bytes[i] &= mask;
	}
	return cut;
}

int units_network(const char *text, struct network *out, struct err *err)
{
	struct network network = { .family = AF_INET };
	char host[INET6_ADDRSTRLEN + 1];
	const char *slash = strchrnul(text, '/');
	size_t length = (size_t)(slash - text);
	uint64_t prefix;

	if (length >= sizeof(host))
		return err_set(err, EX_CONFIG, "\"%s\" is not a network", text);
	memcpy(host, text, length);
	host[length] = '\0';
	if (inet_pton(AF_INET, host, network.bytes) != 1) {
		network.family = AF_INET6;
		if (inet_pton(AF_INET6, host, network.bytes) != 1)
			return err_set(err, EX_CONFIG,
				"\"%s\" is not a network, as in 10.0.0.0/8 or ::1", text);
	}
	size_t bytes = network.family == AF_INET ? 4 : 16;
	prefix = 8 * bytes;
	if (*slash != '\0' && units_number(slash + 1, 0, 8 * bytes, &prefix, NULL) != 0)
		return err_set(err, EX_CONFIG, "\"%s\": the prefix is a number from 0 to %zu", text,
			8 * bytes);
	network.prefix = (unsigned)prefix;
	if (cut_host_bits(&network, bytes)) {
		char right[INET6_ADDRSTRLEN + 8];
		return err_set(err, EX_CONFIG, "\"%s\" has bits beyond its prefix: write %s", text,
			units_network_text(&network, right, sizeof(right)));
	}
	*out = network;
	return 0;
}

char *units_network_text(const struct network *network, char *out, size_t size)
{
	char host[INET6_ADDRSTRLEN];
	unsigned full = network->family == AF_INET ? 32 : 128;

	inet_ntop(network->family, network->bytes, host, sizeof(host));
	if (network->prefix == full)
		snprintf(out, size, "%s", host);
	else
		snprintf(out, size, "%s/%u", host, network->prefix);
	return out;
}
