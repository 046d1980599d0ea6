/*
 * tell: the same news for several readers. Decides nothing.
 */
#include "master/tell.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/conf.h"
#include "master/daemon.h"
#include "master/fleet.h"
#include "master/notify.h"

char *tell_strength(const struct fleet *fleet, char *out, size_t size)
{
	unsigned workers = fleet_ready(fleet);
	size_t pools = fleet_conf(fleet)->pool_count;

	snprintf(out, size, "%u worker%s in %zu pool%s", workers, workers == 1 ? "" : "s", pools,
		pools == 1 ? "" : "s");
	return out;
}

static void write_result(const struct pidfile *pidfile, unsigned number, const char *result)
{
	char line[700];

	snprintf(line, sizeof(line), "%u %s", number, result);
	daemon_write_result(pidfile, line);
}

static void notify_serving(const struct fleet *fleet, const char *failure)
{
	char serving[64];

	notify_send("READY=1\nSTATUS=Serving with %s%s%.400s",
		tell_strength(fleet, serving, sizeof(serving)),
		failure != NULL ? "; last reload failed: " : "", failure != NULL ? failure : "");
}

void tell_running(const struct pidfile *pidfile, unsigned number, const char *what, uint64_t now)
{
	notify_send("RELOADING=1\nMONOTONIC_USEC=%" PRIu64 "000\nSTATUS=%s", now, what);
	write_result(pidfile, number, "running");
}

void tell_done(const struct pidfile *pidfile, unsigned number, const struct fleet *fleet)
{
	write_result(pidfile, number, "ok");
	notify_serving(fleet, NULL);
}

void tell_failed(
	const struct pidfile *pidfile, unsigned number, const struct fleet *fleet, const char *why)
{
	char result[600];

	snprintf(result, sizeof(result), "failed: %s", why);
	write_result(pidfile, number, result);
	notify_serving(fleet, why);
}
