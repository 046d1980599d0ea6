/*
 * patience: waits for an address at a start, and for nothing else: the loop does not run yet.
 */
#include "master/patience.h"

#include <signal.h>
#include <stdint.h>
#include <sysexits.h>
#include <time.h>

#include "common/clock.h"
#include "common/conf.h"
#include "common/err.h"
#include "master/fleet.h"

#define RETRY_MS 20        /* while the orphans of a dead master hold an address */
#define RETRY_FRESH_MS 500 /* so long even when nothing says that there was one */

static bool told_to_stop(void)
{
	sigset_t pending;

	return sigpending(&pending) == 0 &&
	       (sigismember(&pending, SIGTERM) || sigismember(&pending, SIGINT) ||
		       sigismember(&pending, SIGQUIT));
}

static uint64_t longest_stop(const struct conf *conf)
{
	uint64_t longest = 0;

	for (size_t i = 0; i < conf->pool_count; i++)
		if (conf->pools[i]->stop_timeout > longest)
			longest = conf->pools[i]->stop_timeout;
	return longest;
}

/* The orphans of a master that was killed let go of their listeners within moments if they run
 * inside preforkd; programs hold theirs until their request is done. */
int patience_prepare(struct fleet *fleet, struct conf *conf, bool unclean, struct err *err)
{
	uint64_t patience = unclean ? longest_stop(conf) : RETRY_FRESH_MS;
	uint64_t began = clock_ms();

	while (fleet_prepare(fleet, conf, NULL, clock_ms(), err) != 0) {
		if (err->code != EX_UNAVAILABLE || clock_ms() - began >= patience ||
			told_to_stop()) {
			conf_free(conf);
			return -1;
		}
		nanosleep(&(struct timespec){ .tv_nsec = RETRY_MS * 1000000L }, NULL);
	}
	return 0;
}
