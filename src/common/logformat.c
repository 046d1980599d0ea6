/*
 * logformat: "%{name}" and what stands between.
 */
#include "common/logformat.h"

#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "common/confword.h"
#include "common/err.h"

#define COMMON                                           \
	"%{remote_addr} - %{remote_user} [%{time_clf}] " \
	"\"%{method} %{uri} %{protocol}\" %{status} %{bytes}"

static const struct {
	const char *name, *text;
} ready[] = {
	{ "common", COMMON },
	{ "combined", COMMON " \"%{referer}\" \"%{user_agent}\"" },
	{ "json", "{\"time\":\"%{time_iso}\",\"pool\":\"%{pool}\",\"pid\":%{pid},"
		  "\"remote_addr\":\"%{remote_addr}\",\"remote_user\":\"%{remote_user}\","
		  "\"host\":\"%{host}\",\"method\":\"%{method}\",\"uri\":\"%{uri}\","
		  "\"protocol\":\"%{protocol}\",\"status\":%{status},\"bytes\":%{bytes},"
		  "\"bytes_in\":%{bytes_in},\"time_s\":%{time_s},\"referer\":\"%{referer}\","
		  "\"user_agent\":\"%{user_agent}\",\"request_id\":\"%{request_id}\"}" },
};

#define READY (sizeof(ready) / sizeof(ready[0]))

struct field {
	const char *name, *first, *second;
};

#define FIELD(id, name, first, second) { name, first, second },
static const struct field fields[] = { LOGFORMAT_FIELDS(FIELD) };
#undef FIELD
#define FIELDS (sizeof(fields) / sizeof(fields[0]))

static int complain_field(const char *name, struct err *err)
{
	const char *names[FIELDS + 1] = { NULL };

	for (size_t i = 0; i < FIELDS; i++)
		names[i] = fields[i].name;
	const char *meant = confword_near(name, names);
	if (meant != NULL)
		return err_set(
			err, EX_CONFIG, "unknown field %%{%s}: did you mean %%{%s}?", name, meant);
	return err_set(err, EX_CONFIG, "unknown field %%{%s}", name);
}

/* name is in memory of the format, and ends there. */
static int add_field(struct logformat *f, const char *name, struct err *err)
{
	struct logformat_step *step = &f->steps[f->count];

	if (strncmp(name, "param:", 6) == 0) {
		*step = (struct logformat_step){ .field = LOGFORMAT_PARAM, .text = name + 6 };
		if (*step->text == '\0' || strchr(step->text, '=') != NULL)
			return err_set(err, EX_CONFIG, "%%{%s} names no parameter", name);
		f->count++;
		return 0;
	}
	for (size_t i = 0; i < FIELDS; i++)
		if (strcmp(fields[i].name, name) == 0) {
			*step = (struct logformat_step){ .field = (enum logformat_field)i,
				.text = fields[i].first,
				.second = fields[i].second };
			f->count++;
			return 0;
		}
	return complain_field(name, err);
}

static void add_literal(struct logformat *f, const char *text, size_t length)
{
	if (length > 0)
		f->steps[f->count++] = (struct logformat_step){
			.field = LOGFORMAT_LITERAL, .text = text, .length = length
		};
}

/* Cuts f->kept into steps: names get their end there. */
static int cut(struct logformat *f, struct err *err)
{
	char *p = f->kept, *percent;

	for (; (percent = strchr(p, '%')) != NULL; p = percent) {
		if (f->count + 2 >= LOGFORMAT_STEPS)
			return err_set(err, EX_CONFIG, "the format has more than %d parts",
				LOGFORMAT_STEPS);
		if (percent[1] == '%') {
			add_literal(f, p, (size_t)(percent + 1 - p));
			percent += 2;
			continue;
		}
		add_literal(f, p, (size_t)(percent - p));
		char *end = percent[1] == '{' ? strchr(percent, '}') : NULL;
		if (end == NULL)
			return err_set(err, EX_CONFIG,
				"\"%.20s\" is no field: write %%{NAME}, or %%%% for a percent sign",
				percent);
		*end = '\0';
		if (add_field(f, percent + 2, err) != 0)
			return -1;
		percent = end + 1;
	}
	add_literal(f, p, strlen(p));
	return 0;
}

/* A text without a field is a name that is not there. */
static int complain_text(const char *text, struct err *err)
{
	const char *names[READY + 1] = { NULL };

	for (size_t i = 0; i < READY; i++)
		names[i] = ready[i].name;
	const char *meant = confword_near(text, names);
	if (meant != NULL)
		return err_set(
			err, EX_CONFIG, "unknown format \"%s\": did you mean \"%s\"?", text, meant);
	return err_set(err, EX_CONFIG, "\"%.40s\" has no field, and is none of %s, %s and %s", text,
		ready[0].name, ready[1].name, ready[2].name);
}

static bool has_field(const struct logformat *f)
{
	for (size_t i = 0; i < f->count; i++)
		if (f->steps[i].field != LOGFORMAT_LITERAL)
			return true;
	return false;
}

struct logformat *logformat_compile(const char *text, struct err *err)
{
	struct logformat *f = calloc(1, sizeof(*f));

	for (size_t i = 0; i < READY; i++)
		if (strcmp(ready[i].name, text) == 0)
			text = ready[i].text;
	if (f != NULL)
		f->kept = strdup(text);
	if (f == NULL || f->kept == NULL) {
		logformat_free(f);
		err_set(err, EX_OSERR, "out of memory");
		return NULL;
	}
	f->json = text[0] == '{';
	if (strlen(text) > LOGFORMAT_TEXT)
		err_set(err, EX_CONFIG, "the format is longer than %d bytes", LOGFORMAT_TEXT);
	else if (cut(f, err) == 0 && (has_field(f) || complain_text(text, err) == 0))
		return f;
	logformat_free(f);
	return NULL;
}

void logformat_free(struct logformat *f)
{
	if (f == NULL)
		return;
	free(f->kept);
	free(f);
}
