/*
 * ledger: a head and four arrays behind it.
 *
 * The memfd is sealed against shrinking and, once the master has mapped it, against every further
 * mapping for writing: whatever the gate becomes, it cannot change what it is shown.
 */
#include "common/ledger.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010 /* of Linux 5.1 */
#endif

#define FIRST_SIZE (64u << 10)

struct head {
	struct ledger_counts counts;
	struct ledger_daemon daemon;
};

struct ledger {
	int fd;
	bool writes;
	char *map;
	size_t size;
	struct ledger_counts counts; /* as they were when it was refreshed */
};

static size_t align(size_t size)
{
	return (size + 63) & ~(size_t)63;
}

static size_t offset_of_pools(void)
{
	return align(sizeof(struct head));
}

static size_t offset_of_listeners(const struct ledger_counts *c)
{
	return align(offset_of_pools() + c->pools * sizeof(struct ledger_pool));
}

static size_t offset_of_workers(const struct ledger_counts *c)
{
	return align(offset_of_listeners(c) + c->listeners * sizeof(struct ledger_listener));
}

static size_t offset_of_events(const struct ledger_counts *c)
{
	return align(offset_of_workers(c) + c->workers * sizeof(struct ledger_worker));
}

static size_t size_of(const struct ledger_counts *c)
{
	return align(offset_of_events(c) + c->events * sizeof(struct ledger_event));
}

static struct head *head_of(const struct ledger *ledger)
{
	return (struct head *)(void *)ledger->map;
}

static int map_first(struct ledger *ledger)
{
	ledger->size = FIRST_SIZE;
	if (ftruncate(ledger->fd, FIRST_SIZE) != 0)
		return -1;
	ledger->map = mmap(NULL, ledger->size, PROT_READ | PROT_WRITE, MAP_SHARED, ledger->fd, 0);
	if (ledger->map == MAP_FAILED)
		return -1;
	if (madvise(ledger->map, ledger->size, MADV_DONTFORK) == 0 &&
		fcntl(ledger->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_FUTURE_WRITE) == 0)
		return 0;
	munmap(ledger->map, ledger->size);
	return -1;
}

struct ledger *ledger_create(void)
{
	struct ledger *ledger = calloc(1, sizeof(*ledger));

	if (ledger == NULL)
		return NULL;
	ledger->writes = true;
	ledger->fd = memfd_create("preforkd-ledger", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (ledger->fd >= 0 && map_first(ledger) == 0)
		return ledger;
	if (ledger->fd >= 0)
		close(ledger->fd);
	free(ledger);
	return NULL;
}

int ledger_fd(const struct ledger *ledger)
{
	return ledger->fd;
}

static int remap(struct ledger *ledger, size_t size)
{
	char *map = mremap(ledger->map, ledger->size, size, MREMAP_MAYMOVE);

	if (map == MAP_FAILED)
		return -1;
	ledger->map = map;
	ledger->size = size;
	return 0;
}

int ledger_begin(struct ledger *ledger, const struct ledger_counts *counts)
{
	size_t size = size_of(counts);

	if (size > ledger->size &&
		(ftruncate(ledger->fd, (off_t)size) != 0 || remap(ledger, size) != 0 ||
			madvise(ledger->map, size, MADV_DONTFORK) != 0))
		return -1;
	memset(ledger->map, 0, size);
	ledger->counts = head_of(ledger)->counts = *counts;
	return 0;
}

struct ledger *ledger_open(int fd)
{
	struct ledger *ledger = calloc(1, sizeof(*ledger));

	if (ledger == NULL)
		return NULL;
	ledger->fd = fd;
	ledger->size = FIRST_SIZE;
	ledger->map = mmap(NULL, ledger->size, PROT_READ, MAP_SHARED, fd, 0);
	if (ledger->map != MAP_FAILED)
		return ledger;
	free(ledger);
	return NULL;
}

int ledger_refresh(struct ledger *ledger)
{
	struct stat st;

	if (fstat(ledger->fd, &st) != 0)
		return -1;
	if ((size_t)st.st_size > ledger->size && remap(ledger, (size_t)st.st_size) != 0)
		return -1;
	ledger->counts = head_of(ledger)->counts;
	return size_of(&ledger->counts) <= ledger->size ? 0 : -1;
}

const struct ledger_counts *ledger_counts(const struct ledger *ledger)
{
	return &ledger->counts;
}

struct ledger_daemon *ledger_daemon(const struct ledger *ledger)
{
	return &head_of(ledger)->daemon;
}

struct ledger_pool *ledger_pool(const struct ledger *ledger, uint32_t index)
{
	return (struct ledger_pool *)(void *)(ledger->map + offset_of_pools()) + index;
}

struct ledger_listener *ledger_listener(const struct ledger *ledger, uint32_t index)
{
	void *at = ledger->map + offset_of_listeners(&ledger->counts);

	return (struct ledger_listener *)at + index;
}

struct ledger_worker *ledger_worker(const struct ledger *ledger, uint32_t index)
{
	void *at = ledger->map + offset_of_workers(&ledger->counts);

	return (struct ledger_worker *)at + index;
}

struct ledger_event *ledger_event(const struct ledger *ledger, uint32_t index)
{
	void *at = ledger->map + offset_of_events(&ledger->counts);

	return (struct ledger_event *)at + index;
}

void ledger_close(struct ledger *ledger)
{
	if (ledger == NULL)
		return;
	munmap(ledger->map, ledger->size);
	close(ledger->fd);
	free(ledger);
}
