/*
 * fds: closes by ranges, whatever the number of descriptors may be.
 */
#include "common/fds.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* A dozen; qsort(3) would be one more page of the C library for each worker to get. */
static void sort(int *numbers, size_t count)
{
	for (size_t i = 1; i < count; i++)
		for (size_t j = i; j > 0 && numbers[j] < numbers[j - 1]; j--) {
			int larger = numbers[j - 1];

			numbers[j - 1] = numbers[j];
			numbers[j] = larger;
		}
}

int fds_close_others(int *keep, size_t count)
{
	unsigned from = STDERR_FILENO + 1;

	sort(keep, count);
	for (size_t i = 0; i < count; i++) {
		if (keep[i] < (int)from)
			continue;
		if ((unsigned)keep[i] > from && close_range(from, (unsigned)keep[i] - 1, 0) != 0)
			return -1;
		from = (unsigned)keep[i] + 1;
	}
	return close_range(from, ~0u, 0);
}

int fds_untaken(int fd)
{
	int bytes = 0;

	return ioctl(fd, SIOCOUTQ, &bytes) == 0 ? bytes : -1;
}
