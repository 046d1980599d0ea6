/* UNTIL of the applications for tests. */
#ifndef PREFORKD_TEST_UNTIL_H
#define PREFORKD_TEST_UNTIL_H

#include <time.h>
#include <unistd.h>

/* Half a minute at most: a test that failed must not leave a worker that never ends. */
static inline void wait_for_file(const char *path)
{
	const struct timespec moment = { 0, 2000000 };

	for (int i = 0; i < 15000 && access(path, F_OK) != 0; i++)
		nanosleep(&moment, NULL);
}

#endif
