/* An ordinary libfcgi program that knows nothing of preforkd: answers with its pid and its body. */
#include <fcgiapp.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char body[4 << 20];

int main(void)
{
	FCGX_Request request;

	FCGX_Init();
	FCGX_InitRequest(&request, 0, 0);
	while (FCGX_Accept_r(&request) == 0) {
		const char *ms = FCGX_GetParam("SLEEP_MS", request.envp);
		int n = FCGX_GetStr(body, sizeof(body), request.in);

		if (ms != NULL)
			usleep((useconds_t)atoi(ms) * 1000);
		FCGX_FPrintF(request.out, "Content-Type: text/plain\r\n\r\n%d ", (int)getpid());
		FCGX_PutStr(body, n, request.out);
		FCGX_Finish_r(&request);
	}
	return 0;
}
