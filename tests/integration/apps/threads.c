/* An ordinary libfcgi program with four threads that each wait in accept: answers with its pid and
 * its body. The main thread only waits for the others. With THREAD_FORKS in the environment one of
 * them starts two processes instead, and these wait in accept. */
#include <fcgiapp.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS 4

static void *serve(void *unused)
{
	size_t room = 4 << 20;
	char *body = malloc(room);
	FCGX_Request request;

	(void)unused;
	if (body == NULL)
		abort();
	FCGX_InitRequest(&request, 0, 0);
	while (FCGX_Accept_r(&request) == 0) {
		const char *ms = FCGX_GetParam("SLEEP_MS", request.envp);
		int n = FCGX_GetStr(body, (int)room, request.in);

		if (ms != NULL)
			usleep((useconds_t)atoi(ms) * 1000);
		FCGX_FPrintF(request.out, "Content-Type: text/plain\r\n\r\n%d ", (int)getpid());
		FCGX_PutStr(body, n, request.out);
		FCGX_Finish_r(&request);
	}
	free(body);
	return NULL;
}

static void *start_processes(void *unused)
{
	(void)unused;
	for (int i = 0; i < 2; i++) {
		if (fork() == 0) {
			serve(NULL);
			_exit(0);
		}
	}
	while (wait(NULL) > 0 || errno == EINTR)
		continue;
	return NULL;
}

int main(void)
{
	int forks = getenv("THREAD_FORKS") != NULL, count = forks ? 1 : THREADS;
	pthread_t threads[THREADS];

	FCGX_Init();
	signal(SIGTERM,
		SIG_DFL); /* not the handler of the library: it dies at once, wherever it is */
	for (int i = 0; i < count; i++)
		if (pthread_create(&threads[i], NULL, forks ? start_processes : serve, NULL) != 0)
			abort();
	for (int i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
	return 0;
}
