/*
 * heritage: the order of the records. A new field of struct heritage is a row here.
 */
#include "master/heritage.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"
#include "master/daemon.h"
#include "master/desk.h"
#include "master/events.h"
#include "master/fleet.h"
#include "master/orders.h"
#include "master/origin.h"
#include "master/state.h"

static const struct state_row rows[] = {
	STATE_ROW(NUMBER, struct heritage, pid, INT_MAX),
	STATE_ROW(NUMBER, struct heritage, reload_wanted, 1),
	STATE_ROW(NUMBER, struct heritage, upgrade_wanted, 1),
	STATE_ROW(NUMBER, struct heritage, reloads, UINT_MAX),
	STATE_ROW(FD, struct heritage, lifeline[0], 0),
	STATE_ROW(FD, struct heritage, lifeline[1], 0),
	STATE_ROW(NUMBER, struct heritage, nofile.rlim_cur, UINT64_MAX),
	STATE_ROW(NUMBER, struct heritage, nofile.rlim_max, UINT64_MAX),
	STATE_ROW(NUMBER, struct heritage, began, UINT64_MAX),
	STATE_ROW(NUMBER, struct heritage, reload_history.done, UINT_MAX),
	STATE_ROW(NUMBER, struct heritage, reload_history.failed, UINT_MAX),
	STATE_ROW(NUMBER, struct heritage, reload_history.last, LEDGER_RUNNING),
	STATE_ROW(NUMBER, struct heritage, reload_history.at, UINT64_MAX),
	STATE_ROW(TEXT, struct heritage, reload_history.reason, 0),
	STATE_ROW(NUMBER, struct heritage, upgrade_history.done, UINT_MAX),
	STATE_ROW(NUMBER, struct heritage, upgrade_history.failed, UINT_MAX),
	STATE_ROW(NUMBER, struct heritage, upgrade_history.last, LEDGER_RUNNING),
	STATE_ROW(NUMBER, struct heritage, upgrade_history.at, UINT64_MAX),
	STATE_ROW(TEXT, struct heritage, upgrade_history.reason, 0),
	STATE_END,
};

int heritage_begin(struct heritage *h, struct err *err)
{
	struct rlimit nofile;

	h->began = clock_wall_ms();
	if (pipe2(h->lifeline, O_CLOEXEC) != 0)
		return err_set(err, EX_OSERR, "cannot make a pipe: %s", strerror(errno));
	if (getrlimit(RLIMIT_NOFILE, &nofile) != 0)
		return 0;
	h->nofile = nofile;
	nofile.rlim_cur = nofile.rlim_max;
	setrlimit(RLIMIT_NOFILE, &nofile);
	return 0;
}

struct state_out *heritage_save(
	struct heritage *h, const struct heritage_parts *parts, struct err *err)
{
	struct state_out *out = state_begin();

	if (out == NULL) {
		err_set(err, EX_OSERR, "out of memory");
		return NULL;
	}
	h->pid = getpid();
	origin_save(parts->origin, out);
	state_put(out, "master", rows, h);
	daemon_save(parts->pidfile, out);
	fleet_save(parts->fleet, out);
	desk_save(parts->desk, out);
	orders_save(parts->orders, out);
	events_save(out);
	if (state_seal(out, err) == 0)
		return out;
	state_drop(out);
	return NULL;
}

int heritage_restore(struct heritage *h, struct state_in *in, pid_t pid,
	struct heritage_parts *parts, struct err *err)
{
	if (state_take(in, "master", rows, h, err) != 0 ||
		daemon_restore(&parts->pidfile, in, err) != 0 ||
		fleet_restore(parts->fleet, in, err) != 0 ||
		desk_restore(parts->desk, in, err) != 0 ||
		orders_restore(parts->orders, in, err) != 0 || events_restore(in, err) != 0)
		return -1;
	if (!state_close(in) || h->lifeline[0] < 0 || h->lifeline[1] < 0)
		return err_set(err, EX_SOFTWARE, "the state is not whole");
	if (h->pid != pid)
		return err_set(err, EX_SOFTWARE, "the state is that of process %d", (int)h->pid);
	return 0;
}
