/* An ordinary libfcgi program that knows nothing of preforkd: answers with its pid and its body,
 * and says how long it was about it. Parameters: SLEEP_MS waits between reading and answering,
 * UNTIL waits there for a file to appear. */
#include <fcgiapp.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "until.h"

static char body[4 << 20];

static long long now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

int main(void)
{
	FCGX_Request request;

	FCGX_Init();
	FCGX_InitRequest(&request, 0, 0);
	while (FCGX_Accept_r(&request) == 0) {
		long long began = now_us();
		const char *ms = FCGX_GetParam("SLEEP_MS", request.envp);
		int n = FCGX_GetStr(body, sizeof(body), request.in);

		if (FCGX_GetParam("UNTIL", request.envp) != NULL)
			wait_for_file(FCGX_GetParam("UNTIL", request.envp));
		if (ms != NULL)
			usleep((useconds_t)atoi(ms) * 1000);
		FCGX_FPrintF(request.out, "Content-Type: text/plain\r\nX-Took: %lld us\r\n\r\n%d ",
			now_us() - began, (int)getpid());
		FCGX_PutStr(body, n, request.out);
		FCGX_Finish_r(&request);
	}
	return 0;
}
