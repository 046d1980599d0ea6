/*
 * conffile: sections of files become struct conf.
 *
 * Gives every key to its row of the table, remembers where it stood, and goes through the included
 * files. Goes on after each mistake, so that one run shows them all. Must never judge how values
 * fit together: confcheck does that when all is read.
 */
#include "common/conffile.h"

#include <errno.h>
#include <glob.h>
#include <libgen.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "common/confkey.h"
#include "common/confpool.h"
#include "common/confread.h"
#include "common/confword.h"

#define POOL_NAME_MAX 32

struct loading {
	struct conf *conf;
	struct conferr *mistakes;
	const char *file; /* being read; owned by conf->files */
	size_t file_count;
	bool included;
	bool has_pool;          /* some pool was begun, be it with mistakes */
	struct conf_place main; /* of [preforkd] */
	char *include;          /* pattern as written; owned */
};

static void no_memory(struct loading *l)
{
	conferr_add(l->mistakes, (struct conf_place){ .file = l->file }, EX_OSERR, "out of memory");
}

/* Keeps a copy of the path among the files read, and makes it the one being read. */
static int begin_file(struct loading *l, const char *path)
{
	char **files = reallocarray(l->conf->files, l->file_count + 2, sizeof(char *));

	if (files == NULL)
		return -1;
	l->conf->files = files;
	files[l->file_count + 1] = NULL;
	files[l->file_count] = strdup(path);
	l->file = files[l->file_count];
	if (l->file == NULL)
		return -1;
	l->file_count++;
	return 0;
}

static void say_unknown_key(
	struct loading *l, enum confkey_section section, struct conf_place place, const char *name)
{
	bool of_pool = section == CONFKEY_POOL;
	enum confkey_section elsewhere = of_pool ? CONFKEY_MAIN : CONFKEY_POOL;
	const char *there = of_pool ? "[preforkd]" : "a [pool NAME] section";
	const char *near = confkey_near(section, name), *far = confkey_near(elsewhere, name);

	if (confkey_find(elsewhere, name) != NULL)
		conferr_add(l->mistakes, place, EX_CONFIG, "key \"%s\" belongs in %s", name, there);
	else if (near != NULL)
		conferr_add(l->mistakes, place, EX_CONFIG,
			"unknown key \"%s\": did you mean \"%s\"?", name, near);
	else if (far != NULL)
		conferr_add(l->mistakes, place, EX_CONFIG,
			"unknown key \"%s\": did you mean \"%s\", in %s?", name, far, there);
	else
		conferr_add(l->mistakes, place, EX_CONFIG, "unknown key \"%s\"", name);
}

/* Was the key given before in this section? Each variable env.NAME is a key of its own. */
static unsigned line_of_first(const struct confread_section *section, size_t index)
{
	for (size_t i = 0; i < index; i++)
		if (strcmp(section->entries[i].key, section->entries[index].key) == 0)
			return section->entries[i].line;
	return 0;
}

/* A pool runs one thing: says so, with both places, when the key is the second that names one. */
static bool is_second_program(struct loading *l, const struct confkey *key, struct conf_place place,
	const struct confread_entry *entry, const void *base)
{
	const struct conf_pool *pool = base;
	const struct confkey *first;

	if (key->value.type != CONFVAL_PROGRAM || pool->kind == CONF_NONE ||
		confword_is_empty(entry->value))
		return false;
	for (size_t i = 0; (first = confkey_at(i)) != NULL; i++)
		if (first->value.type == CONFVAL_PROGRAM && first->value.min == (int64_t)pool->kind)
			conferr_add(l->mistakes, place, EX_CONFIG,
				"%s: %s is given in line %u already: a pool runs one of app, "
				"module "
				"and command",
				key->name, first->name, pool->at[i].line);
	return true;
}

static void take_entry(struct loading *l, enum confkey_section section,
	const struct confread_section *from, size_t index, struct conf_place *at, void *base)
{
	const struct confread_entry *entry = &from->entries[index];
	const struct confkey *key = confkey_find(section, entry->key);
	struct conf_place place = { .file = l->file, .line = entry->line };
	unsigned first = line_of_first(from, index);
	struct err err;

	if (key == NULL) {
		say_unknown_key(l, section, place, entry->key);
		return;
	}
	if (first != 0) {
		conferr_add(l->mistakes, place, EX_CONFIG,
			"key \"%s\" is given twice, first in line %u", entry->key, first);
		return;
	}
	if (is_second_program(l, key, place, entry, base))
		return;
	if (at[confkey_row(key)].line == 0)
		at[confkey_row(key)] = place;
	if (confval_set(&key->value, entry->key, entry->value, base, &err) != 0)
		conferr_add(l->mistakes, place, err.code, "%s: %s", entry->key, err.text);
	else if (key->value.type == CONFVAL_PATTERN &&
		 (l->include = confword_one(entry->value, NULL)) == NULL)
		no_memory(l);
}

static void take_main(struct loading *l, const struct confread_section *section)
{
	struct conf_place place = { .file = l->file, .line = section->line };

	if (l->included) {
		conferr_add(l->mistakes, place, EX_CONFIG,
			"an included file has [pool NAME] sections only");
		return;
	}
	if (l->main.line != 0) {
		conferr_add(l->mistakes, place, EX_CONFIG,
			"[preforkd] is given twice, first in line %u", l->main.line);
		return;
	}
	l->main = place;
	for (size_t i = 0; i < section->count; i++)
		take_entry(l, CONFKEY_MAIN, section, i, l->conf->at, l->conf);
}

static bool is_pool_name(const char *name)
{
	const char *allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
	size_t length = strlen(name);

	return length >= 1 && length <= POOL_NAME_MAX && strspn(name, allowed) == length;
}

static void take_pool(struct loading *l, const struct confread_section *section, const char *name)
{
	struct conf_place place = { .file = l->file, .line = section->line };
	const struct conf_pool *first = confpool_find(l->conf, name);
	struct conf_pool *pool = confpool_new(name, place);
	struct err err;

	l->has_pool = true;
	if (pool == NULL) {
		no_memory(l);
		return;
	}
	if (!is_pool_name(name))
		conferr_add(l->mistakes, place, EX_CONFIG,
			"\"%s\" is not a pool's name: 1 to %d letters, digits, -, _ and .", name,
			POOL_NAME_MAX);
	else if (first != NULL)
		conferr_add(l->mistakes, place, EX_CONFIG,
			"[pool %s] is given twice, first at %s:%u", name, first->place.file,
			first->place.line);
	for (size_t i = 0; i < section->count; i++)
		take_entry(l, CONFKEY_POOL, section, i, pool->at, pool);
	if (confkey_defaults(CONFKEY_POOL, pool->at, pool, &err) != 0)
		conferr_add(l->mistakes, place, err.code, "%s", err.text);
	/* What a wrongly named pool lacks is not worth saying. */
	if (first != NULL || !is_pool_name(name))
		confpool_free(pool);
	else if (confpool_append(l->conf, pool) != 0) {
		confpool_free(pool);
		no_memory(l);
	}
}

static void say_unknown_section(struct loading *l, const struct confread_section *section)
{
	static const char *const words[] = { "preforkd", "pool", NULL };
	struct conf_place place = { .file = l->file, .line = section->line };
	size_t length = strcspn(section->name, " \t");
	const char *rest = section->name + length + strspn(section->name + length, " \t");
	char *word = strndup(section->name, length);
	const char *near = word == NULL ? NULL : confword_near(word, words);

	l->has_pool = true; /* perhaps it was meant to be one */
	if (near != NULL && (strcmp(near, "pool") == 0) == (*rest != '\0'))
		conferr_add(l->mistakes, place, EX_CONFIG,
			"unknown section [%s]: did you mean [%s%s%s]?", section->name, near,
			*rest == '\0' ? "" : " ", rest);
	else if (near != NULL && *rest == '\0')
		conferr_add(l->mistakes, place, EX_CONFIG, "a pool has a name: [pool NAME]");
	else if (is_pool_name(section->name))
		conferr_add(l->mistakes, place, EX_CONFIG,
			"unknown section [%s]: did you mean [pool %s]?", section->name,
			section->name);
	else
		conferr_add(l->mistakes, place, EX_CONFIG,
			"unknown section [%s]: there are [preforkd] and [pool NAME]",
			section->name);
	free(word);
}

static void take_section(struct loading *l, const struct confread_section *section)
{
	const char *name = section->name;

	if (name == NULL && section->line == 0 && section->count > 0)
		conferr_add(l->mistakes,
			(struct conf_place){ .file = l->file, .line = section->entries[0].line },
			EX_CONFIG, "key \"%s\" stands before the first section",
			section->entries[0].key);
	if (name == NULL) {
		l->has_pool |= section->line != 0;
		return;
	}
	if (strcmp(name, "preforkd") == 0)
		take_main(l, section);
	else if (strncmp(name, "pool", 4) == 0 && (name[4] == ' ' || name[4] == '\t'))
		take_pool(l, section, name + 4 + strspn(name + 4, " \t"));
	else
		say_unknown_section(l, section);
}

static void load_file(struct loading *l, const char *path)
{
	struct confread file;

	if (begin_file(l, path) != 0) {
		no_memory(l);
		return;
	}
	confread_file(l->file, &file, l->mistakes);
	for (size_t i = 0; i < file.count; i++)
		take_section(l, &file.sections[i]);
	if (file.count == 0)
		l->has_pool = true; /* unreadable is another complaint than empty */
	confread_free(&file);
}

/* A pattern that is not absolute starts in the folder of the main file, whose name is no pattern.
 */
static char *full_pattern(const char *main_file, const char *pattern)
{
	char *full = NULL, *copy;
	size_t size;
	FILE *out;

	if (pattern[0] == '/')
		return strdup(pattern);
	copy = strdup(main_file);
	out = open_memstream(&full, &size);
	if (copy == NULL || out == NULL) {
		free(copy);
		if (out != NULL)
			fclose(out);
		free(full);
		return NULL;
	}
	for (const char *p = dirname(copy); *p != '\0'; p++)
		fprintf(out, strchr("*?[\\", *p) != NULL ? "\\%c" : "%c", *p);
	fprintf(out, "/%s", pattern);
	fclose(out);
	free(copy);
	return full;
}

/* A folder that is not there matches nothing; one that cannot be read is a mistake. */
static int stop_at(const char *path, int error)
{
	(void)path;
	return error != ENOENT && error != ENOTDIR;
}

static void load_includes(struct loading *l)
{
	const struct confkey *key = confkey_find(CONFKEY_MAIN, "include");
	struct conf_place place = l->conf->at[confkey_row(key)];
	char *pattern = full_pattern(l->file, l->include);
	glob_t found;
	int rc;

	if (pattern == NULL) {
		no_memory(l);
		return;
	}
	errno = 0;
	rc = glob(pattern, 0, stop_at, &found);
	if (rc != 0 && rc != GLOB_NOMATCH)
		conferr_add(l->mistakes, place, EX_CONFIG, "include: cannot look for %s: %s",
			pattern, errno != 0 ? strerror(errno) : "out of memory");
	l->included = true;
	for (size_t i = 0; rc == 0 && i < found.gl_pathc; i++)
		load_file(l, found.gl_pathv[i]);
	globfree(&found);
	free(pattern);
}

void conffile_load(struct conf *conf, const char *path, struct conferr *mistakes)
{
	struct loading l = { .conf = conf, .mistakes = mistakes };
	struct err err;

	load_file(&l, path);
	if (l.include != NULL && l.include[0] != '\0')
		load_includes(&l);
	if (confkey_defaults(CONFKEY_MAIN, conf->at, conf, &err) != 0)
		conferr_add(mistakes, l.main, err.code, "%s", err.text);
	if (!l.has_pool)
		conferr_add(mistakes,
			(struct conf_place){ .file = conf->files != NULL ? conf->files[0] : NULL },
			EX_CONFIG, "there is no pool: give a [pool NAME] section");
	free(l.include);
}
