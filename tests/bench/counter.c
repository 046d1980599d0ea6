/*
 * counter: what "app = counter" answers, written as an ordinary libfcgi program.
 *
 * The counter is the first eight bytes of the file that COUNTER_FILE names; all processes that were
 * started with the same file share it. The accept loop is the one of libfcgi's own examples.
 */
#include <fcgiapp.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static _Atomic uint64_t *map_counter(void)
{
	const char *path = getenv("COUNTER_FILE");
	int fd = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
	void *map = MAP_FAILED;

	if (fd >= 0 && ftruncate(fd, sizeof(uint64_t)) == 0)
		map = mmap(NULL, sizeof(uint64_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		perror("COUNTER_FILE");
		exit(EXIT_FAILURE);
	}
	close(fd);
	return map;
}

int main(void)
{
	_Atomic uint64_t *counter = map_counter();
	FCGX_Request request;
	char answer[128];

	if (FCGX_Init() != 0 || FCGX_InitRequest(&request, 0, 0) != 0)
		return EXIT_FAILURE;
	while (FCGX_Accept_r(&request) == 0) {
		uint64_t number = atomic_fetch_add_explicit(counter, 1, memory_order_relaxed) + 1;
		int n = snprintf(answer, sizeof(answer),
			"Content-Type: text/plain\r\n\r\n%" PRIu64 "\n", number);

		FCGX_PutStr(answer, n, request.out);
	}
	return EXIT_SUCCESS;
}
