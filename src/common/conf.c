/*
 * conf: the configuration as one immutable thing.
 *
 * Decides whether a file or the options make it, puts the rooms below together, and answers what
 * others ask about the result. A configuration with any mistake never leaves this room. Must never
 * change a struct conf that was handed out.
 */
#include "common/conf.h"

#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "common/confcheck.h"
#include "common/conferr.h"
#include "common/conffile.h"
#include "common/confkey.h"
#include "common/confopt.h"
#include "common/confpool.h"
#include "common/confword.h"

#ifndef SYSCONFDIR /* from the Makefile */
#define SYSCONFDIR "/etc"
#endif
#define DEFAULT_FILE SYSCONFDIR "/preforkd/preforkd.conf"

static void load_file(
	struct conf *conf, const struct conf_options *options, struct conferr *mistakes)
{
	const char *file = options->file != NULL ? options->file : DEFAULT_FILE;

	confopt_refuse(options, mistakes);
	if (mistakes->count > 0)
		return;
	conf->file = strdup(file);
	if (conf->file == NULL)
		mistakes->no_memory = true;
	conffile_load(conf, file, mistakes);
}

struct conf *conf_load(const struct conf_options *options, struct err_list *errors)
{
	struct conf *conf = calloc(1, sizeof(*conf));
	struct conferr mistakes = { 0 };

	if (conf == NULL) {
		err_list_add(errors, EX_OSERR, "out of memory");
		return NULL;
	}
	if (options->file == NULL && (options->listen != NULL || options->program != NULL))
		confopt_load(conf, options, &mistakes);
	else
		load_file(conf, options, &mistakes);
	confopt_pid_file(conf, options, &mistakes);
	confcheck_pools(conf, &mistakes);
	if (mistakes.count == 0 && !mistakes.no_memory)
		return conf;
	conferr_deliver(&mistakes, conf->files, errors);
	conf_free(conf);
	return NULL;
}

void conf_free(struct conf *conf)
{
	if (conf == NULL)
		return;
	for (size_t i = 0; i < conf->pool_count; i++)
		confpool_free(conf->pools[i]);
	free(conf->pools);
	confword_free(conf->files);
	free(conf->file);
	free(conf->pid_file);
	free(conf->log);
	free(conf->control);
	free(conf->control_group);
	free(conf->http);
	free(conf->gate_user);
	free(conf);
}

static void print_section(enum confkey_section section, const void *base, FILE *out)
{
	const struct confkey *key;

	for (size_t i = 0; (key = confkey_at(i)) != NULL; i++)
		if (key->section == section)
			confval_print(&key->value, key->name, base, out);
}

void conf_print(const struct conf *conf, FILE *out)
{
	fputs("[preforkd]\n", out);
	print_section(CONFKEY_MAIN, conf, out);
	for (size_t i = 0; i < conf->pool_count; i++) {
		fprintf(out, "\n[pool %s]\n", conf->pools[i]->name);
		print_section(CONFKEY_POOL, conf->pools[i], out);
	}
}

struct conf_pool *conf_find_pool(const struct conf *conf, const char *name)
{
	return confpool_find(conf, name);
}

static const char *place_text(const struct conf_place *place, char *out, size_t size)
{
	if (place->file == NULL)
		snprintf(out, size, "command line");
	else
		snprintf(out, size, "%s:%u", place->file, place->line);
	return out;
}

const char *conf_where(const struct conf_pool *pool, const char *key, char *out, size_t size)
{
	const struct confkey *row = confkey_find(CONFKEY_POOL, key);
	const struct conf_place *place = &pool->place;

	if (row != NULL && pool->at[confkey_row(row)].line != 0)
		place = &pool->at[confkey_row(row)];
	return place_text(place, out, size);
}

const char *conf_where_main(const struct conf *conf, const char *key, char *out, size_t size)
{
	const struct conf_place *place = &conf->at[confkey_row(confkey_find(CONFKEY_MAIN, key))];

	if (place->line == 0 && conf->file != NULL)
		snprintf(out, size, "%s", conf->file); /* the default */
	else
		place_text(place, out, size);
	return out;
}

static void diff(enum confkey_section section, const char *pool, const void *a, const void *b,
	conf_difference each)
{
	const struct confkey *key;

	for (size_t i = 0; (key = confkey_at(i)) != NULL; i++)
		if (key->section == section && !confkey_same(key, a, b))
			each(pool, key->name, key->cost);
}

void conf_diff(const struct conf *a, const struct conf *b, conf_difference each)
{
	diff(CONFKEY_MAIN, NULL, a, b, each);
	for (size_t i = 0; i < b->pool_count; i++) {
		const struct conf_pool *before = conf_find_pool(a, b->pools[i]->name);

		if (before != NULL)
			diff(CONFKEY_POOL, before->name, before, b->pools[i], each);
	}
}
