/*
 * confread: a file becomes sections of keys and values.
 *
 * libini_config reads the lines. It finds every bad line in one pass, but then returns nothing of
 * the good ones; it compares names without regard to case, forgets the lines of sections, and gives
 * up without a line on a few characters. So confline prepares the text: sections become [@NUMBER],
 * indentation and comments go, and what the library cannot hold is said before. Bad lines are taken
 * out, and the rest is read again. Must never know what a section or key means.
 */
#include "common/confread.h"

#include <errno.h>
#include <fcntl.h>
#include <ini_configobj.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/confline.h"

#define FILE_SIZE_MAX (1L << 20)

/* INI_PARSE_NOWRAP: an indented line is not part of the one above. INI_MV1S_ALLOW: keys that differ
 * by case are no duplicates; who keeps the values finds the real ones. */
#define PARSE_FLAGS (INI_PARSE_NOWRAP | INI_PARSE_NO_C_COMMENTS)
#define COLLISION_FLAGS (INI_MV1S_ALLOW | INI_MS_MERGE)

struct reading {
	struct conf_place place; /* line 0: the file itself */
	struct confread *out;
	struct conferr *mistakes;
};

static void complain(struct reading *r, unsigned line, const char *text)
{
	struct conf_place place = { .file = r->place.file, .line = line };

	conferr_add(r->mistakes, place, EX_CONFIG, "%s", text);
}

static void no_memory(struct reading *r)
{
	conferr_add(r->mistakes, r->place, EX_OSERR, "out of memory");
}

/* What root runs is said in this file: nobody else may have a hand in it. */
static int check_file(struct reading *r, int fd, struct stat *st)
{
	if (fstat(fd, st) != 0)
		conferr_add(
			r->mistakes, r->place, EX_CONFIG, "cannot be read: %s", strerror(errno));
	else if (!S_ISREG(st->st_mode))
		complain(r, 0, "is not a regular file");
	else if (st->st_size > FILE_SIZE_MAX)
		complain(r, 0, "is larger than 1 MiB");
	else if (geteuid() == 0 && st->st_uid != 0)
		conferr_add(r->mistakes, r->place, EX_CONFIG,
			"belongs to user %u: it must belong to root", (unsigned)st->st_uid);
	else if (geteuid() == 0 && (st->st_mode & (S_IWGRP | S_IWOTH)) != 0)
		complain(r, 0, "can be written by its group or by others: only root may");
	else
		return 0;
	return -1;
}

/* The size found by fstat() is read, and no byte that comes after. NULL when that fails. */
static char *read_all(struct reading *r, int fd, size_t *length)
{
	struct stat st;
	char *text;
	ssize_t n = 1;

	if (check_file(r, fd, &st) != 0)
		return NULL;
	text = malloc((size_t)st.st_size + 1);
	if (text == NULL) {
		no_memory(r);
		return NULL;
	}
	for (*length = 0; n > 0 && *length < (size_t)st.st_size; *length += (size_t)n) {
		n = read(fd, text + *length, (size_t)st.st_size - *length);
		if (n < 0) {
			conferr_add(r->mistakes, r->place, EX_CONFIG, "cannot be read: %s",
				strerror(errno));
			free(text);
			return NULL;
		}
	}
	text[*length] = '\0';
	return text;
}

static char *load(struct reading *r, size_t *length)
{
	char *text;
	/* O_NONBLOCK: a FIFO without a writer is refused, not waited for. */
	int fd = open(r->place.file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd < 0) {
		conferr_add(
			r->mistakes, r->place, EX_CONFIG, "cannot be read: %s", strerror(errno));
		return NULL;
	}
	text = read_all(r, fd, length);
	close(fd);
	return text;
}

static const char *sentence(unsigned error)
{
	switch (error) {
	case ERR_LONGDATA:
		return "the line is too long";
	case ERR_LONGKEY:
		return "the key is too long";
	case ERR_NOEQUAL:
		return "the line is neither a section, KEY = VALUE nor a comment";
	case ERR_NOKEY:
		return "there is no key before the =";
	default:
		return "the line cannot be read";
	}
}

/* Says what the library found and takes those lines out. The library gives its findings as text
 * only. Returns how many there were. */
static size_t take_errors(struct reading *r, struct ini_cfgobj *ini, struct confline_text *lines)
{
	char **errors = NULL;
	size_t found = 0;
	unsigned error, line;

	if (ini_config_get_errors(ini, &errors) != 0)
		return 0;
	for (char **e = errors; *e != NULL; e++)
		if (sscanf(*e, "%*s (%u) on line %u:", &error, &line) == 2) {
			line = confline_number(line);
			complain(r, line, sentence(error));
			confline_drop(lines, line);
			found++;
		}
	ini_config_free_errors(errors);
	return found;
}

/* One pass of the library over the lines that are left. 0 or an errno. */
static int parse(const struct confline_text *lines, struct ini_cfgobj **ini)
{
	struct ini_cfgfile *file = NULL;
	size_t length = 0;
	char *text = confline_join(lines, &length);
	int rc = text == NULL ? ENOMEM : ini_config_create(ini);

	if (rc == 0)
		rc = ini_config_file_from_mem(text, (uint32_t)length, &file);
	if (rc == 0) {
		rc = ini_config_parse(file, INI_STOP_ON_NONE, COLLISION_FLAGS, PARSE_FLAGS, *ini);
		ini_config_file_destroy(file);
	}
	free(text);
	return rc;
}

/* The value object of the attribute with this index: the library finds by name without regard to
 * case, so those with the same name before it are passed over. */
static struct value_obj *find_value(
	struct ini_cfgobj *ini, const char *section, char **names, size_t index)
{
	struct value_obj *value = NULL;
	int mode = INI_GET_FIRST_VALUE;

	for (size_t i = 0; i <= index; i++) {
		if (i < index && strcasecmp(names[i], names[index]) != 0)
			continue;
		if (ini_get_config_valueobj(section, names[index], ini, mode, &value) != 0)
			return NULL;
		mode = INI_GET_NEXT_VALUE;
	}
	return value;
}

static int keep_entry(struct confread_section *to, const char *key, struct value_obj *value)
{
	struct confread_entry *entry = &to->entries[to->count];
	const char *text = value == NULL ? NULL : ini_get_const_string_config_value(value, NULL);
	uint32_t line = 0;

	if (value == NULL || value_get_line(value, &line) != 0)
		return -1;
	entry->line = confline_number(line);
	entry->key = strdup(key);
	entry->value = strdup(text == NULL ? "" : text);
	to->count++;
	return entry->key == NULL || entry->value == NULL ? -1 : 0;
}

static int keep_section(struct ini_cfgobj *ini, size_t number, struct confread_section *to)
{
	char section[32];
	int count = 0, rc = 0;
	char **names;

	confline_section_name(number, section, sizeof(section));
	names = ini_get_attribute_list(ini, section, &count, NULL);
	if (names == NULL)
		return -1;
	to->entries = calloc((size_t)count + 1, sizeof(*to->entries));
	if (to->entries == NULL)
		rc = -1;
	for (size_t i = 0; i < (size_t)count && rc == 0; i++)
		rc = keep_entry(to, names[i], find_value(ini, section, names, i));
	ini_free_attribute_list(names);
	return rc;
}

static int keep_sections(struct reading *r, struct ini_cfgobj *ini, struct confline_text *lines)
{
	struct confread *out = r->out;

	out->sections = calloc(lines->section_count, sizeof(*out->sections));
	if (out->sections == NULL)
		return -1;
	for (size_t i = 0; i < lines->section_count; i++) {
		struct confread_section *to = &out->sections[out->count++];

		to->line = lines->sections[i].line;
		to->name = lines->sections[i].name;
		lines->sections[i].name = NULL;
		if (keep_section(ini, i, to) != 0)
			return -1;
	}
	return 0;
}

static void read_lines(struct reading *r, struct confline_text *lines)
{
	struct ini_cfgobj *ini = NULL;
	int rc = parse(lines, &ini);

	if (rc != 0 && ini != NULL && take_errors(r, ini, lines) > 0) {
		ini_config_destroy(ini);
		ini = NULL;
		rc = parse(lines, &ini);
	}
	if (rc != 0)
		conferr_add(r->mistakes, r->place, rc == ENOMEM ? EX_OSERR : EX_CONFIG,
			"cannot be parsed: %s", strerror(rc));
	else if (keep_sections(r, ini, lines) != 0)
		no_memory(r);
	if (ini != NULL)
		ini_config_destroy(ini);
}

void confread_file(const char *path, struct confread *out, struct conferr *mistakes)
{
	struct reading r = { .place = { .file = path }, .out = out, .mistakes = mistakes };
	struct confline_text lines = { 0 };
	size_t length = 0;
	char *text = load(&r, &length);

	*out = (struct confread){ 0 };
	if (text == NULL)
		return;
	if (confline_prepare(text, length, path, &lines, mistakes) == 0)
		read_lines(&r, &lines);
	confline_free(&lines);
	free(text);
}

void confread_free(struct confread *file)
{
	for (size_t s = 0; s < file->count; s++) {
		struct confread_section *section = &file->sections[s];

		for (size_t i = 0; i < section->count; i++) {
			free(section->entries[i].key);
			free(section->entries[i].value);
		}
		free(section->entries);
		free(section->name);
	}
	free(file->sections);
	*file = (struct confread){ 0 };
}
