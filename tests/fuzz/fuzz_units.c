/*
 * Numbers, durations, sizes, addresses and networks.
 *
 * What is taken is within its range, and what is written back is read as the same; what is refused
 * comes with a reason, and leaves the output as it was.
 */
#include <netinet/in.h>
#include <signal.h>
#include <sys/un.h>
#include <sysexits.h>

#include "common/err.h"
#include "common/units.h"
#include "fuzz.h"

#define UNTOUCHED 0x5a5a5a5au

static void check_refusal(const struct err *err)
{
	MUST(err->code == EX_CONFIG && err->text[0] != '\0');
	MUST(strlen(err->text) < sizeof(err->text));
}

static void check_numbers(const char *text)
{
	struct err err;
	uint64_t number = UNTOUCHED;
	unsigned low = UNTOUCHED, high = UNTOUCHED, mode = UNTOUCHED;

	if (units_number(text, 3, 70000, &number, &err) == 0)
		MUST(number >= 3 && number <= 70000);
	else
		check_refusal(&err);
	MUST(number == UNTOUCHED || (number >= 3 && number <= 70000));
	if (units_range(text, 0, 10000, &low, &high, &err) == 0)
		MUST(low <= high && high >= 1 && high <= 10000);
	else
		MUST(low == UNTOUCHED && high == UNTOUCHED);
	if (units_mode(text, 0777, &mode, &err) == 0)
		MUST(mode <= 0777);
	else
		MUST(mode == UNTOUCHED);
}

static void check_scaled(const char *text)
{
	struct err err;
	char again[64];
	uint64_t first = UNTOUCHED, second = 0;

	if (units_duration(text, &first, &err) == 0) {
		units_duration_text(first, again, sizeof(again));
		MUST(units_duration(again, &second, &err) == 0 && second == first);
		MUST(first <= INT64_MAX);
	} else {
		check_refusal(&err);
		MUST(first == UNTOUCHED);
	}
	first = UNTOUCHED;
	if (units_size(text, &first, &err) == 0) {
		units_size_text(first, again, sizeof(again));
		MUST(units_size(again, &second, &err) == 0 && second == first);
		MUST(first <= INT64_MAX);
	} else {
		check_refusal(&err);
		MUST(first == UNTOUCHED);
	}
}

static void check_words(const char *text)
{
	struct err err;
	int signo = -1, again = -1;
	bool on;

	if (units_signal(text, &signo, &err) == 0) {
		MUST(signo > 0 && signo < NSIG && signo != SIGKILL && signo != SIGSTOP);
		if (strcmp(units_signal_name(signo), "SIG?") != 0)
			MUST(units_signal(units_signal_name(signo), &again, &err) == 0 &&
				again == signo);
	} else {
		check_refusal(&err);
		MUST(signo == -1);
	}
	if (units_bool(text, &on, &err) != 0)
		check_refusal(&err);
}

static void check_address(const char *text)
{
	struct address address = { 0 }, again = { 0 };
	struct err err;

	if (units_address(text, &address, &err) != 0) {
		check_refusal(&err);
		MUST(address.text[0] == '\0' && address.len == 0);
		return;
	}
	MUST(address.len <= sizeof(address.sa));
	MUST(address.kind != ADDRESS_UNIX ||
		memchr(((struct sockaddr_un *)&address.sa)->sun_path, '\0',
			sizeof(((struct sockaddr_un *)&address.sa)->sun_path)) != NULL);
	MUST(memchr(address.text, '\0', sizeof(address.text)) != NULL);
	MUST(units_address(address.text, &again, &err) == 0);
	MUST(memcmp(&address.sa, &again.sa, sizeof(again.sa)) == 0);
	MUST(address.kind == again.kind && address.len == again.len &&
		address.wildcard == again.wildcard && strcmp(address.text, again.text) == 0);
}

static void check_network(const char *text)
{
	struct network network = { 0 }, again = { 0 };
	struct err err;
	char out[INET6_ADDRSTRLEN + 8];

	if (units_network(text, &network, &err) != 0) {
		check_refusal(&err);
		MUST(network.family == 0);
		return;
	}
	MUST(network.prefix <= (network.family == AF_INET ? 32u : 128u));
	units_network_text(&network, out, sizeof(out));
	MUST(units_network(out, &again, &err) == 0);
	MUST(network.family == again.family && network.prefix == again.prefix);
	MUST(memcmp(network.bytes, again.bytes, sizeof(again.bytes)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_text(data, size);

	check_numbers(text);
	check_scaled(text);
	check_words(text);
	check_address(text);
	check_network(text);
	free(text);
	return 0;
}
