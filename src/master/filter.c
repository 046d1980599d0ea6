/*
 * filter: the program has one part for each family; in it every network is compared in turn, word
 * by word of the source address in the IP header (SKF_NET_OFF).
 */
#include "master/filter.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/units.h"

#define PER_NETWORK 13 /* instructions: three for each word, and the verdict */
#define PER_FAMILY 4

static bool prefix_word(const struct network *n, unsigned word, uint32_t *mask, uint32_t *value)
{
	unsigned bits = n->prefix > word * 32 ? n->prefix - word * 32 : 0;
	uint32_t raw;

	if (bits == 0)
		return false;
	*mask = bits >= 32 ? UINT32_MAX : ~(UINT32_MAX >> bits);
	memcpy(&raw, n->bytes + word * 4, sizeof(raw));
	*value = ntohl(raw) & *mask;
	return true;
}

/* One network: load and compare word by word; all equal: accept, else fall to the next network. */
static size_t filter_network(const struct network *n, struct sock_filter *out)
{
	uint32_t offset = n->family == AF_INET ? 12 : 8; /* of the source in the IP header */
	unsigned words = n->family == AF_INET ? 1 : 4, used = 0;
	uint32_t mask[4], value[4];
	size_t i = 0;

	while (used < words && prefix_word(n, used, &mask[used], &value[used]))
		used++;
	for (unsigned w = 0; w < used; w++) {
		uint8_t past =
			(uint8_t)((used - w - 1) * 3 + 1); /* over the other words and the RET */

		out[i++] = (struct sock_filter)BPF_STMT(
			BPF_LD | BPF_W | BPF_ABS, (uint32_t)SKF_NET_OFF + offset + w * 4);
		out[i++] = (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, mask[w]);
		out[i++] =
			(struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value[w], 0, past);
	}
	out[i++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, UINT32_MAX);
	return i;
}

/* Other families step over it by a plain jump: a conditional one reaches 255 instructions only. */
static size_t filter_family(
	int family, const struct network *allow, size_t count, struct sock_filter *out)
{
	size_t n = 0;

	out[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_B | BPF_ABS, (uint32_t)SKF_NET_OFF);
	out[n++] = (struct sock_filter)BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 4);
	out[n++] = (struct sock_filter)BPF_JUMP(
		BPF_JMP | BPF_JEQ | BPF_K, family == AF_INET ? 4 : 6, 1, 0);
	size_t jump = n++;
	for (size_t i = 0; i < count; i++)
		if (allow[i].family == family)
			n += filter_network(&allow[i], out + n);
	out[jump] = (struct sock_filter)BPF_STMT(BPF_JMP | BPF_JA, (uint32_t)(n - jump - 1));
	return n;
}

/* A socket that outlives us, as systemd's, has the filter of the master before. */
static bool has_already(int fd, const struct sock_fprog *program)
{
	socklen_t count = program->len;
	struct sock_filter *there = calloc(count, sizeof(*there));
	bool same = there != NULL &&
		    getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, there, &count) == 0 &&
		    count == program->len &&
		    memcmp(there, program->filter, count * sizeof(*there)) == 0;

	free(there);
	return same;
}

int filter_attach(int fd, const struct network *allow, size_t count)
{
	struct sock_filter *code = calloc(2 * PER_FAMILY + 1 + count * PER_NETWORK, sizeof(*code));
	size_t n = 0;
	int on = 1, rc = -1;

	if (code == NULL)
		return -1;
	n += filter_family(AF_INET, allow, count, code + n);
	n += filter_family(AF_INET6, allow, count, code + n);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_fprog program = { .len = (unsigned short)n, .filter = code };
	if (has_already(fd, &program))
		rc = 0;
	else if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) == 0)
		rc = setsockopt(fd, SOL_SOCKET, SO_LOCK_FILTER, &on, sizeof(on));
	int reason = errno; /* free() may change it */
	free(code);
	errno = reason;
	return rc;
}
