/*
 * command: one POST; and the end of a process, for the command after which nobody can answer.
 *
 * The master is known by the credentials of its socket, not by what somebody says: what is waited
 * for is the process that listens.
 */
#include "ctl/command.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"
#include "ctl/answer.h"
#include "ctl/wire.h"

#define TRIES 3
#define PAUSE 100 /* ms before another one */

/* Did an answer come at all? */
static bool post(struct wire *wire, const char *target, long timeout, struct answer *answer)
{
	struct wire_reply reply = { 0 };
	struct err err;

	if (wire_ask(wire, WIRE_POST, target, timeout, &reply, &err) != 0) {
		answer_fail(&err, answer);
		return false;
	}
	answer_read(&reply, answer);
	wire_reply_free(&reply);
	return true;
}

void command_run(struct wire *wire, const char *target, long timeout, struct answer *answer)
{
	post(wire, target, timeout, answer);
}

/* Has the process ended by then? deadline 0: none. */
static bool ends(int pidfd, uint64_t deadline)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	for (;;) {
		uint64_t now = clock_ms();
		int left = deadline > now ? (int)(deadline - now) : 0;
		int rc = poll(&p, 1, deadline == 0 ? -1 : left);
		if (rc >= 0 || errno != EINTR)
			return rc > 0;
	}
}

static void await_end(int pidfd, uint64_t deadline, pid_t pid, struct answer *answer)
{
	if (ends(pidfd, deadline)) {
		answer->code = EXIT_SUCCESS;
		snprintf(answer->text, sizeof(answer->text), "stopped");
		return;
	}
	answer->code = EX_TEMPFAIL;
	snprintf(answer->text, sizeof(answer->text),
		"process %d still stops, and has not ended yet", (int)pid);
}

/* The answer was cut off, perhaps by the end of the master. */
static bool is_cut_off(bool answered, const struct answer *answer)
{
	return !answered && answer->code == EXIT_FAILURE;
}

/* Of -t; 0: no limit. */
static long left_until(uint64_t deadline)
{
	uint64_t now = clock_ms();

	if (deadline == 0)
		return 0;
	return deadline > now ? (long)(deadline - now) : 1;
}

/* A process that cannot be seen from here (of another pid namespace) has only its own word. */
void command_stop(struct wire *wire, long timeout, struct answer *answer)
{
	uint64_t deadline = timeout > 0 ? clock_ms() + (uint64_t)timeout : 0;
	pid_t pid = wire_peer(wire);
	int pidfd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
	bool answered = post(wire, "/stop", timeout, answer);
	bool cut = is_cut_off(answered, answer);

	/* Or by that of the gate, before the master had heard of it: to ask twice does no harm. */
	for (int i = 0; i < TRIES && pidfd >= 0 && is_cut_off(answered, answer); i++)
		if (!ends(pidfd, clock_ms() + PAUSE))
			answered = post(wire, "/stop", left_until(deadline), answer);
	/* When it was cut off, and now nobody listens, the master is on its way out. */
	if (pidfd >= 0 && (answer->code == EXIT_SUCCESS || is_cut_off(answered, answer) ||
				  (cut && answer->code == EX_UNAVAILABLE)))
		await_end(pidfd, deadline, pid, answer);
	if (pidfd >= 0)
		close(pidfd);
}
