/*
 * heritage: the order of the records. A new field of struct heritage is a row here.
 */
#include "master/heritage.h"

#include <limits.h>
#include <stdint.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/err.h"
#include "master/daemon.h"
#include "master/fleet.h"
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
	STATE_END,
};

struct state_out *heritage_save(struct heritage *h, const struct origin *origin,
	const struct pidfile *pidfile, const struct fleet *fleet, struct err *err)
{
	struct state_out *out = state_begin();

	if (out == NULL) {
		err_set(err, EX_OSERR, "out of memory");
		return NULL;
	}
	h->pid = getpid();
	origin_save(origin, out);
	state_put(out, "master", rows, h);
	daemon_save(pidfile, out);
	fleet_save(fleet, out);
	if (state_seal(out, err) == 0)
		return out;
	state_drop(out);
	return NULL;
}

int heritage_restore(struct heritage *h, struct state_in *in, pid_t pid, struct pidfile **pidfile,
	struct fleet *fleet, struct err *err)
{
	if (state_take(in, "master", rows, h, err) != 0 || daemon_restore(pidfile, in, err) != 0 ||
		fleet_restore(fleet, in, err) != 0)
		return -1;
	if (!state_close(in) || h->lifeline[0] < 0 || h->lifeline[1] < 0)
		return err_set(err, EX_SOFTWARE, "the state is not whole");
	if (h->pid != pid)
		return err_set(err, EX_SOFTWARE, "the state is that of process %d", (int)h->pid);
	return 0;
}
