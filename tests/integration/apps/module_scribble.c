/* A module for tests that is hostile: with SCRIBBLE it writes random bytes over all of the
 * scoreboard that it can reach, and goes on to do so in a thread. */
#include <preforkd_app.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct area {
	unsigned char *from, *to;
};

static struct area areas[16];
static size_t count;

static void find_areas(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[512];

	while (maps != NULL && count < 16 && fgets(line, sizeof(line), maps) != NULL) {
		void *from, *to;

		if (strstr(line, "preforkd-") != NULL && sscanf(line, "%p-%p rw", &from, &to) == 2)
			areas[count++] = (struct area){ from, to };
	}
	if (maps != NULL)
		fclose(maps);
}

static void *scribble(void *arg)
{
	unsigned seed = 7;

	(void)arg;
	while (count > 0)
		for (size_t i = 0; i < count; i++)
			for (unsigned char *p = areas[i].from; p < areas[i].to; p++)
				*(volatile unsigned char *)p = (unsigned char)rand_r(&seed);
	return NULL;
}

static int handle(FCGX_Request *request)
{
	pthread_t thread;

	if (FCGX_GetParam("SCRIBBLE", request->envp) != NULL && count == 0) {
		find_areas();
		pthread_create(&thread, NULL, scribble, NULL);
	}
	FCGX_FPrintF(request->out, "Content-Type: text/plain\r\n\r\n%d", (int)count);
	return 0;
}

const struct preforkd_app preforkd_app = {
	.abi = PREFORKD_APP_ABI,
	.name = "scribble",
	.handle = handle,
};
