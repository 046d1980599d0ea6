/*
 * vitals: /proc/PID/stat of each worker, proc(5).
 *
 * Reading it costs some ten microseconds, so that a thousand workers take turns. A number that has
 * gone to another process meanwhile is told by its parent.
 */
#include "gate/vitals.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/ledger.h"

#define BUDGET 3 /* ms */

struct slip {
	pid_t pid; /* 0: none */
	struct vital vital;
};

struct vitals {
	int proc;
	pid_t master;
	double tick;
	uint64_t page;
	struct slip *slips; /* by place in the ledger */
	uint32_t count;
	uint32_t next; /* whose turn it is */
};

struct vitals *vitals_open(pid_t master)
{
	struct vitals *v = calloc(1, sizeof(*v));

	if (v == NULL)
		return NULL;
	v->master = master;
	v->proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	v->tick = 1.0 / (double)sysconf(_SC_CLK_TCK);
	v->page = (uint64_t)sysconf(_SC_PAGESIZE);
	return v;
}

static struct vital look(const struct vitals *v, pid_t pid)
{
	struct vital out = { .known = false };
	char path[32], text[1024];
	uint64_t user, system;
	int64_t pages;
	int parent;

	snprintf(path, sizeof(path), "%d/stat", (int)pid);
	int fd = openat(v->proc, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return out;
	ssize_t n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	const char *rest = strrchr(text, ')'); /* its name may have anything in it */
	if (rest == NULL ||
		sscanf(rest,
			") %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64
			" %*d %*d %*d %*d %*d %*d %*u %*u %" SCNd64,
			&parent, &user, &system, &pages) != 4 ||
		parent != v->master || pages < 0)
		return out;
	out.known = true;
	out.cpu_seconds = (double)(user + system) * v->tick;
	out.resident_bytes = (uint64_t)pages * v->page;
	return out;
}

static int by_pid(const void *a, const void *b)
{
	const struct slip *x = a, *y = b;

	return (x->pid > y->pid) - (x->pid < y->pid);
}

/* New slips in the order of the ledger, with what was known of the same processes. */
static int arrange(struct vitals *v, const struct ledger *ledger)
{
	uint32_t count = ledger_counts(ledger)->workers;
	struct slip *slips = calloc(count > 0 ? count : 1, sizeof(*slips));

	if (slips == NULL)
		return -1;
	if (v->count > 0)
		qsort(v->slips, v->count, sizeof(*slips), by_pid);
	for (uint32_t i = 0; i < count; i++) {
		struct slip key = { .pid = ledger_worker(ledger, i)->pid };
		const struct slip *old =
			v->count == 0 ? NULL
				      : bsearch(&key, v->slips, v->count, sizeof(*slips), by_pid);

		slips[i] = old != NULL ? *old : key;
	}
	free(v->slips);
	v->slips = slips;
	v->count = count;
	return 0;
}

void vitals_take(struct vitals *v, const struct ledger *ledger)
{
	uint64_t end = clock_ms() + BUDGET;

	if (arrange(v, ledger) != 0)
		return;
	for (uint32_t i = 0; i < v->count; i++) {
		if (i % 16 == 15 && clock_ms() >= end)
			return;
		v->next = v->next + 1 < v->count ? v->next + 1 : 0;
		v->slips[v->next].vital = look(v, v->slips[v->next].pid);
	}
}

struct vital vitals_of(const struct vitals *v, uint32_t index)
{
	return index < v->count ? v->slips[index].vital : (struct vital){ .known = false };
}
