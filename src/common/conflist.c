/*
 * conflist: addresses, networks, names, variables and command lines: values of several words.
 *
 * Cuts a value into words, checks each by its form, and keeps them; writes them back so that they
 * are cut the same. Must never look whether a program, user or address exists.
 */
#include "common/conflist.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "common/confword.h"

static int no_memory(struct err *err)
{
	return err_set(err, EX_OSERR, "out of memory");
}

static size_t count_words(char *const *words)
{
	size_t n = 0;

	while (words != NULL && words[n] != NULL)
		n++;
	return n;
}

int conflist_set_addresses(struct conf_pool *pool, const char *text, struct err *err)
{
	char **words = confword_split(text, err);
	size_t count = count_words(words);
	int rc = 0;

	if (words == NULL)
		return -1;
	pool->listen = calloc(count + 1, sizeof(*pool->listen));
	if (pool->listen == NULL)
		rc = no_memory(err);
	for (size_t i = 0; i < count && rc == 0; i++)
		rc = units_address(words[i], &pool->listen[i], err);
	if (rc == 0)
		pool->listen_count = count;
	confword_free(words);
	return rc;
}

void conflist_put_addresses(const struct conf_pool *pool, FILE *out)
{
	for (size_t i = 0; i < pool->listen_count; i++) {
		if (i > 0)
			fputc(' ', out);
		confword_print(pool->listen[i].text, out);
	}
}

int conflist_set_networks(struct conf_pool *pool, const char *text, struct err *err)
{
	char *spaced = strdup(text), **words;
	int rc = 0;

	if (spaced == NULL)
		return no_memory(err);
	for (char *p = spaced; (p = strchr(p, ',')) != NULL;)
		*p = ' ';
	words = confword_split(spaced, err);
	free(spaced);
	if (words == NULL)
		return -1;
	size_t count = count_words(words);
	pool->allow = calloc(count + 1, sizeof(*pool->allow));
	if (pool->allow == NULL)
		rc = no_memory(err);
	for (size_t i = 0; i < count && rc == 0; i++)
		rc = units_network(words[i], &pool->allow[i], err);
	if (rc == 0)
		pool->allow_count = count;
	confword_free(words);
	return rc;
}

void conflist_put_networks(const struct conf_pool *pool, FILE *out)
{
	char text[64];

	for (size_t i = 0; i < pool->allow_count; i++)
		fprintf(out, "%s%s", i > 0 ? " " : "",
			units_network_text(&pool->allow[i], text, sizeof(text)));
}

int conflist_check_name(const char *name, struct err *err)
{
	bool wrong = name[0] == '\0';

	for (const char *p = name; *p != '\0'; p++)
		wrong |= (unsigned char)*p <= ' ' || strchr(":,/\177", *p) != NULL;
	if (wrong)
		return err_set(err, EX_CONFIG, "\"%s\" is not the name of a user or group", name);
	return 0;
}

int conflist_check_variable(const char *name, struct err *err)
{
	const char *digits = "0123456789";
	const char *letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789";

	/* An empty name is found by the first: strchr() finds the NUL too. */
	if (strchr(digits, name[0]) != NULL || name[strspn(name, letters)] != '\0')
		return err_set(
			err, EX_CONFIG, "\"%s\" is not the name of an environment variable", name);
	return 0;
}

int conflist_set_words(
	char ***out, const char *text, int (*check)(const char *, struct err *), struct err *err)
{
	char **words = confword_split(text, err);

	for (char **w = words; w != NULL && *w != NULL; w++)
		if (check(*w, err) != 0) {
			confword_free(words);
			return -1;
		}
	if (words == NULL)
		return -1;
	*out = words;
	return 0;
}

void conflist_put_words(char *const *words, FILE *out)
{
	for (size_t i = 0; words != NULL && words[i] != NULL; i++) {
		if (i > 0)
			fputc(' ', out);
		confword_print(words[i], out);
	}
}

int conflist_set_program(struct conf_pool *pool, const char *text, struct err *err)
{
	const char *name;

	pool->argv = confword_split(text, err);
	if (pool->argv == NULL)
		return -1;
	name = pool->argv[0];
	if (name[0] == '/' || pool->kind == CONF_APP)
		return 0;
	if (pool->kind == CONF_MODULE)
		return err_set(err, EX_CONFIG, "\"%s\" is not an absolute path", name);
	if (name[0] == '\0' || strchr(name, '/') != NULL)
		return err_set(err, EX_CONFIG,
			"\"%s\" is neither an absolute path nor the bare name of a program", name);
	return 0;
}

void conflist_put_program(const struct conf_pool *pool, FILE *out)
{
	const char *first = pool->argv[0];

	/* Only the command line can give these two: a relative path and line breaks. */
	if (pool->program != NULL && first[0] != '/' && strchr(first, '/') != NULL)
		first = pool->program;
	for (size_t i = 0; pool->argv[i] != NULL; i++)
		if (strchr(pool->argv[i], '\n') != NULL) {
			fputs("; an argument has a line break, which no file can hold", out);
			return;
		}
	confword_print(first, out);
	if (pool->argv[1] != NULL)
		fputc(' ', out);
	conflist_put_words(pool->argv + 1, out);
}

int conflist_add_env(struct conf_pool *pool, const char *name, const char *text, struct err *err)
{
	size_t n = count_words(pool->env);
	char **env;

	if (conflist_check_variable(name, err) != 0)
		return -1;
	env = reallocarray(pool->env, n + 2, sizeof(*env));
	if (env == NULL)
		return no_memory(err);
	pool->env = env;
	env[n + 1] = NULL;
	if (asprintf(&env[n], "%s=%s", name, text) < 0) {
		env[n] = NULL;
		return no_memory(err);
	}
	return 0;
}

void conflist_put_env(const struct conf_pool *pool, FILE *out)
{
	for (char **e = pool->env; e != NULL && *e != NULL; e++) {
		int length = (int)strcspn(*e, "=");

		fprintf(out, "env.%.*s = ", length, *e);
		confword_print(*e + length + 1, out);
		fputc('\n', out);
	}
}
