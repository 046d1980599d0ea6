/*
 * confline: lines for libini_config.
 *
 * The library takes the lines of a file that it can be trusted with: each section under a number
 * instead of its name, no indentation, no comments, no bytes that would make it refuse the file
 * without saying where. All else about a line is left to the library. Must never look into values.
 */
#include "common/confline.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "common/confword.h"

#define NOT_A_SECTION SIZE_MAX

struct confline_line {
	const char *text; /* "" for a comment, a dropped line, a section */
	size_t section;   /* or NOT_A_SECTION */
};

struct preparing {
	const char *path;
	struct confline_text *out;
	struct conferr *mistakes;
	size_t used; /* sections and keys so far */
};

static void complain(const struct preparing *p, unsigned line, const char *text)
{
	struct conf_place place = { .file = p->path, .line = line };

	conferr_add(p->mistakes, place, EX_CONFIG, "%s", text);
}

static int no_memory(const struct preparing *p)
{
	struct conf_place place = { .file = p->path };

	conferr_add(p->mistakes, place, EX_OSERR, "out of memory");
	return -1;
}

/* The length of the UTF-8 character at p, 0 when there is none (RFC 3629). */
static size_t utf8_length(const unsigned char *p)
{
	static const uint32_t least[] = { 0, 0x80, 0x800, 0x10000 };
	size_t more = *p < 0x80 ? 0 : *p < 0xe0 ? 1 : *p < 0xf0 ? 2 : 3;
	uint32_t code = more == 0 ? *p : *p & (0x3fu >> more);

	if ((*p >= 0x80 && *p < 0xc0) || *p >= 0xf8)
		return 0;
	for (size_t i = 1; i <= more; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (p[i] & 0x3fu);
	}
	if (code < least[more] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
		return 0;
	return more + 1;
}

static bool is_utf8(const char *text)
{
	for (size_t n = 1; *text != '\0' && n > 0; text += n)
		n = utf8_length((const unsigned char *)text);
	return *text == '\0';
}

static int add_section(struct preparing *p, unsigned line, const char *name, size_t length)
{
	struct confline_text *out = p->out;
	struct confline_section *sections =
		reallocarray(out->sections, out->section_count + 1, sizeof(*sections));

	if (sections == NULL)
		return no_memory(p);
	out->sections = sections;
	sections += out->section_count++;
	*sections = (struct confline_section){ .line = line };
	if (name != NULL && (sections->name = strndup(name, length)) == NULL)
		return no_memory(p);
	return 0;
}

/* A broken header begins a section too, so that its keys are not taken for those of the one above.
 */
static int take_header(struct preparing *p, unsigned line, const char *text)
{
	const char *name = text + 1, *end = strchr(text, ']');

	p->out->lines[line - 1].section = p->out->section_count;
	if (end == NULL) {
		complain(p, line, "the section header does not end with ]");
		return add_section(p, line, NULL, 0);
	}
	if (!confword_is_empty(end + 1)) {
		complain(p, line, "nothing but a comment may stand behind ]");
		return add_section(p, line, NULL, 0);
	}
	while (isspace((unsigned char)*name))
		name++;
	while (end > name && isspace((unsigned char)end[-1]))
		end--;
	if (end <= name) {
		complain(p, line, "the section has no name");
		return add_section(p, line, NULL, 0);
	}
	return add_section(p, line, name, (size_t)(end - name));
}

/* Would the library give up on the whole file at this line? */
static bool is_fit(const struct preparing *p, unsigned line, const char *text)
{
	const char *equal = strchr(text, '=');

	if (!is_utf8(text)) {
		complain(p, line, "the line is not UTF-8 text");
		return false;
	}
	while (equal != NULL && equal > text && isspace((unsigned char)equal[-1]))
		equal--;
	for (const char *c = text; equal != NULL && c < equal; c++)
		if ((unsigned char)*c < ' ' || (unsigned char)*c >= 0x7f || *c == '!') {
			complain(p, line, "the key has a character that no key has");
			return false;
		}
	return true;
}

static int take_line(struct preparing *p, unsigned number, char *text)
{
	struct confline_line *line = &p->out->lines[number - 1];
	char *end = text + strlen(text);

	while (isspace((unsigned char)*text))
		text++;
	while (end > text && isspace((unsigned char)end[-1]))
		*--end = '\0';
	*line = (struct confline_line){ .text = "", .section = NOT_A_SECTION };
	if (*text == '\0' || *text == '#' || *text == ';')
		return 0;
	if (++p->used > CONFLINE_MAX) {
		complain(p, number, "there are more than 10000 sections and keys in this file");
		return -1;
	}
	if (*text == '[')
		return take_header(p, number, text);
	if (is_fit(p, number, text))
		line->text = text;
	return 0;
}

static size_t count_lines(const char *text, size_t length)
{
	size_t n = 1;

	for (size_t i = 0; i < length; i++)
		n += text[i] == '\n';
	return n;
}

int confline_prepare(char *text, size_t length, const char *path, struct confline_text *out,
	struct conferr *mistakes)
{
	struct preparing p = { .path = path, .out = out, .mistakes = mistakes };
	const char *nul = memchr(text, '\0', length);

	if (nul != NULL) {
		complain(&p, (unsigned)count_lines(text, (size_t)(nul - text)), "NUL byte");
		return -1;
	}
	if (strncmp(text, "\xef\xbb\xbf", 3) == 0) /* a byte order mark is no part of line 1 */
		text += 3;
	out->lines = calloc(count_lines(text, strlen(text)), sizeof(*out->lines));
	if (out->lines == NULL)
		return no_memory(&p);
	if (add_section(&p, 0, NULL, 0) != 0)
		return -1;
	for (char *line; (line = strsep(&text, "\n")) != NULL;)
		if (take_line(&p, (unsigned)++out->count, line) != 0)
			return -1;
	return 0;
}

void confline_free(struct confline_text *text)
{
	for (size_t i = 0; i < text->section_count; i++)
		free(text->sections[i].name);
	free(text->sections);
	free(text->lines);
	*text = (struct confline_text){ 0 };
}

void confline_drop(struct confline_text *text, unsigned line)
{
	if (line >= 1 && line <= text->count)
		text->lines[line - 1].text = "";
}

void confline_section_name(size_t number, char *out, size_t size)
{
	snprintf(out, size, "@%zu", number);
}

/* One line comes before the first: the section of keys that stand before any section. */
unsigned confline_number(unsigned joined)
{
	return joined - 1;
}

char *confline_join(const struct confline_text *text, size_t *length)
{
	char *joined = NULL, name[32];
	FILE *out = open_memstream(&joined, length);

	if (out == NULL)
		return NULL;
	confline_section_name(0, name, sizeof(name));
	fprintf(out, "[%s]\n", name);
	for (size_t i = 0; i < text->count; i++) {
		const struct confline_line *line = &text->lines[i];

		if (line->section != NOT_A_SECTION) {
			confline_section_name(line->section, name, sizeof(name));
			fprintf(out, "[%s]\n", name);
		} else {
			fprintf(out, "%s\n", line->text);
		}
	}
	if (fclose(out) != 0) {
		free(joined);
		return NULL;
	}
	return joined;
}
