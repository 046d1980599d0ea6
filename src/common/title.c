/*
 * title: libbsd's setproctitle(3), and a shorter way for the one word that changes all the time.
 *
 * libbsd formats, clears and copies two kilobytes; a worker would pay for that twice a request.
 */
#include "common/title.h"

#include <bsd/unistd.h>
#include <string.h>

static struct {
	char *text;  /* where setproctitle(3) writes: the place of the first argument */
	char *state; /* its last word; NULL: not known, or the title did not fit */
} title;

void title_init(int argc, char **argv, char **envp)
{
	title.text = argv[0];
	setproctitle_init(argc, argv, envp);
}

static void find_state(const char *state)
{
	char *text = title.text;

	title.state = NULL;
	if (text == NULL || strlen(text) < strlen(state))
		return;
	text += strlen(text) - strlen(state);
	if (strcmp(text, state) == 0)
		title.state = text;
}

void title_worker(const char *pool, unsigned slot, const char *state)
{
	size_t length = strlen(state);

	if (title.state != NULL && strlen(title.state) == length) {
		memcpy(title.state, state, length);
		return;
	}
	setproctitle("%s worker %u %s", pool, slot, state);
	find_state(state);
}
