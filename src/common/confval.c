/*
 * confval: one reader and one writer for each type of value.
 *
 * Stands between the words of a line and the fields of struct conf; the types table at the end is
 * the whole of it. Knows no key by name and no other value than the one at hand: what must fit
 * together is for confcheck. Must never look whether a path, user or address exists.
 */
#include "common/confval.h"

#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "common/conf.h"
#include "common/conflist.h"
#include "common/confword.h"
#include "common/logformat.h"

struct slot {
	const struct confval *value;
	const char *name; /* of the key, as it was given */
	void *base;       /* for set */
	const void *from; /* for put */
	struct err *err;
};

struct type {
	bool raw;      /* set gets the whole text: words, and a comment perhaps */
	bool optional; /* an empty text leaves the field as it is */
	bool empty;    /* an empty text is a value: set gets it */
	int (*set)(const struct slot *slot, const char *text);
	void (*put)(const struct slot *slot, FILE *out);
};

static void *field(const struct slot *slot)
{
	return (char *)slot->base + slot->value->offset;
}

static const void *source(const struct slot *slot)
{
	return (const char *)slot->from + slot->value->offset;
}

static int no_memory(struct err *err)
{
	return err_set(err, EX_OSERR, "out of memory");
}

static int keep(const struct slot *slot, const char *text)
{
	char **to = field(slot);

	*to = strdup(text);
	return *to == NULL ? no_memory(slot->err) : 0;
}

static void put_string(const struct slot *slot, FILE *out)
{
	char *const *from = source(slot);

	if (*from != NULL)
		confword_print(*from, out);
}

static int set_path(const struct slot *slot, const char *text)
{
	if (text[0] != '/')
		return err_set(slot->err, EX_CONFIG, "\"%s\" is not an absolute path", text);
	if (strlen(text) >= PATH_MAX)
		return err_set(
			slot->err, EX_CONFIG, "the path is longer than %d bytes", PATH_MAX - 1);
	return keep(slot, text);
}

/* The index in the list of choices; -1 with the error filled. */
static int find_choice(const struct slot *slot, const char *text, const char *what)
{
	const char *const *choices = slot->value->choices;

	for (int i = 0; choices[i] != NULL; i++)
		if (strcmp(choices[i], text) == 0)
			return i;
	const char *meant = confword_near(text, choices);
	if (meant != NULL)
		return err_set(slot->err, EX_CONFIG, "unknown %s \"%s\": did you mean \"%s\"?",
			what, text, meant);
	return err_set(slot->err, EX_CONFIG, "unknown %s \"%s\"", what, text);
}

/* The one who reads files looks at it; nothing remains of it in the configuration. */
static int set_pattern(const struct slot *slot, const char *text)
{
	(void)slot;
	(void)text;
	return 0;
}

static int set_sink(const struct slot *slot, const char *text)
{
	const char *const *choices = slot->value->choices;

	if (text[0] == '/')
		return set_path(slot, text);
	if (find_choice(slot, text, "destination") >= 0)
		return keep(slot, text);
	if (strchr(text, '.') == NULL && confword_near(text, choices) != NULL)
		return -1;
	return err_set(slot->err, EX_CONFIG, "\"%s\" is not %s, %s or an absolute path", text,
		choices[0], choices[1]);
}

static int set_format(const struct slot *slot, const char *text)
{
	struct logformat *format = logformat_compile(text, slot->err);

	if (format == NULL)
		return -1;
	logformat_free(format);
	return keep(slot, text);
}

static int set_choice(const struct slot *slot, const char *text)
{
	int index = find_choice(slot, text, slot->name);

	if (index < 0)
		return -1;
	*(int *)field(slot) = (int)slot->value->min + index;
	return 0;
}

static void put_choice(const struct slot *slot, FILE *out)
{
	fputs(slot->value->choices[*(const int *)source(slot) - slot->value->min], out);
}

static int set_endpoint(const struct slot *slot, const char *text)
{
	enum address_kind kind = (enum address_kind)slot->value->min;
	struct address address;

	if (units_address(text, &address, slot->err) != 0)
		return -1;
	if (address.kind != kind)
		return err_set(slot->err, EX_CONFIG, "\"%s\" is not %s", text,
			kind == ADDRESS_UNIX ? "an absolute path" : "HOST:PORT or *:PORT");
	return keep(slot, address.text);
}

static int set_name(const struct slot *slot, const char *text)
{
	return conflist_check_name(text, slot->err) != 0 ? -1 : keep(slot, text);
}

static int set_unsigned(const struct slot *slot, const char *text)
{
	uint64_t number;

	if (units_number(text, (uint64_t)slot->value->min, (uint64_t)slot->value->max, &number,
		    slot->err) != 0)
		return -1;
	*(unsigned *)field(slot) = (unsigned)number;
	return 0;
}

static void put_unsigned(const struct slot *slot, FILE *out)
{
	fprintf(out, "%u", *(const unsigned *)source(slot));
}

static int set_number(const struct slot *slot, const char *text)
{
	return units_number(text, (uint64_t)slot->value->min, (uint64_t)slot->value->max,
		field(slot), slot->err);
}

static void put_number(const struct slot *slot, FILE *out)
{
	fprintf(out, "%" PRIu64, *(const uint64_t *)source(slot));
}

static int set_bytes(const struct slot *slot, const char *text)
{
	uint64_t *bytes = field(slot);
	uint64_t min = (uint64_t)slot->value->min, max = (uint64_t)slot->value->max;
	char low[32], high[32];

	if (units_size(text, bytes, slot->err) != 0)
		return -1;
	if (max == 0 || (*bytes >= min && *bytes <= max))
		return 0;
	return err_set(slot->err, EX_CONFIG, "size %s is out of range: %s to %s", text,
		units_size_text(min, low, sizeof(low)), units_size_text(max, high, sizeof(high)));
}

static void put_bytes(const struct slot *slot, FILE *out)
{
	char text[32];

	fputs(units_size_text(*(const uint64_t *)source(slot), text, sizeof(text)), out);
}

static int set_range(const struct slot *slot, const char *text)
{
	struct conf_range *to = field(slot);
	unsigned min, max;

	if (units_range(text, (unsigned)slot->value->min, (unsigned)slot->value->max, &min, &max,
		    slot->err) != 0)
		return -1;
	*to = (struct conf_range){ .min = min, .max = max };
	return 0;
}

static void put_range(const struct slot *slot, FILE *out)
{
	const struct conf_range *from = source(slot);

	fprintf(out, from->min == from->max ? "%u" : "%u..%u", from->min, from->max);
}

static int set_int(const struct slot *slot, const char *text)
{
	uint64_t number;
	bool negative = text[0] == '-';

	if (units_number(text + negative, 0, INT_MAX, &number, NULL) != 0)
		return err_set(slot->err, EX_CONFIG, "\"%s\" is not a whole number", text);
	int64_t value = negative ? -(int64_t)number : (int64_t)number;
	if (value < slot->value->min || value > slot->value->max)
		return err_set(slot->err, EX_CONFIG, "%s is out of range: %" PRId64 " to %" PRId64,
			text, slot->value->min, slot->value->max);
	*(int *)field(slot) = (int)value;
	return 0;
}

static void put_int(const struct slot *slot, FILE *out)
{
	fprintf(out, "%d", *(const int *)source(slot));
}

static int set_mode(const struct slot *slot, const char *text)
{
	return units_mode(text, (unsigned)slot->value->max, field(slot), slot->err);
}

static void put_mode(const struct slot *slot, FILE *out)
{
	fprintf(out, "%#o", *(const unsigned *)source(slot));
}

static int set_duration(const struct slot *slot, const char *text)
{
	uint64_t min = (uint64_t)slot->value->min, max = (uint64_t)slot->value->max, ms;

	if (units_duration(text, &ms, slot->err) != 0)
		return -1;
	if (ms < min || ms > max) {
		char low[32], high[32];
		return err_set(slot->err, EX_CONFIG, "%s is out of range: %s to %s", text,
			units_duration_text(min, low, sizeof(low)),
			units_duration_text(max, high, sizeof(high)));
	}
	*(uint64_t *)field(slot) = ms;
	return 0;
}

static void put_duration(const struct slot *slot, FILE *out)
{
	char text[32];

	fputs(units_duration_text(*(const uint64_t *)source(slot), text, sizeof(text)), out);
}

static int set_signal(const struct slot *slot, const char *text)
{
	return units_signal(text, field(slot), slot->err);
}

static void put_signal(const struct slot *slot, FILE *out)
{
	int signo = *(const int *)source(slot);
	const char *name = units_signal_name(signo);

	if (strcmp(name, "SIG?") == 0)
		fprintf(out, "%d", signo);
	else
		fputs(name, out);
}

static int set_bool(const struct slot *slot, const char *text)
{
	return units_bool(text, field(slot), slot->err);
}

static void put_bool(const struct slot *slot, FILE *out)
{
	fputs(*(const bool *)source(slot) ? "yes" : "no", out);
}

static int set_limit(const struct slot *slot, const char *text)
{
	uint64_t *to = field(slot);

	if (text[0] == '\0')
		*to = CONF_INHERIT;
	else if (strcmp(text, "unlimited") == 0)
		*to = CONF_UNLIMITED;
	else if (slot->value->type == CONFVAL_SIZE)
		return units_size(text, to, slot->err);
	else
		return units_number(text, (uint64_t)slot->value->min, (uint64_t)slot->value->max,
			to, slot->err);
	return 0;
}

static void put_limit(const struct slot *slot, FILE *out)
{
	uint64_t limit = *(const uint64_t *)source(slot);
	char text[32];

	if (limit == CONF_UNLIMITED)
		fputs("unlimited", out);
	else if (limit != CONF_INHERIT && slot->value->type == CONFVAL_SIZE)
		fputs(units_size_text(limit, text, sizeof(text)), out);
	else if (limit != CONF_INHERIT)
		fprintf(out, "%" PRIu64, limit);
}

/* Those that take words live in conflist; here they only get their place. */
static int set_addresses(const struct slot *slot, const char *text)
{
	return conflist_set_addresses(slot->base, text, slot->err);
}

static void put_addresses(const struct slot *slot, FILE *out)
{
	conflist_put_addresses(slot->from, out);
}

static int set_networks(const struct slot *slot, const char *text)
{
	return conflist_set_networks(slot->base, text, slot->err);
}

static void put_networks(const struct slot *slot, FILE *out)
{
	conflist_put_networks(slot->from, out);
}

static int set_names(const struct slot *slot, const char *text)
{
	return conflist_set_words(field(slot), text, conflist_check_name, slot->err);
}

static int set_variables(const struct slot *slot, const char *text)
{
	return conflist_set_words(field(slot), text, conflist_check_variable, slot->err);
}

static void put_words(const struct slot *slot, FILE *out)
{
	conflist_put_words(*(char *const *const *)source(slot), out);
}

static int set_program(const struct slot *slot, const char *text)
{
	struct conf_pool *pool = slot->base;

	pool->kind = (enum conf_kind)slot->value->min;
	if (conflist_set_program(pool, text, slot->err) != 0)
		return -1;
	if (pool->kind != CONF_APP)
		return 0;
	if (pool->argv[1] != NULL)
		return err_set(slot->err, EX_CONFIG, "a built-in application takes no arguments");
	return find_choice(slot, pool->argv[0], "application") < 0 ? -1 : 0;
}

static void put_program(const struct slot *slot, FILE *out)
{
	const struct conf_pool *pool = slot->from;

	if (pool->kind == (enum conf_kind)slot->value->min)
		conflist_put_program(pool, out);
}

static int set_env(const struct slot *slot, const char *text)
{
	return conflist_add_env(slot->base, slot->name + strlen("env."), text, slot->err);
}

static const struct type types[] = {
	[CONFVAL_PATTERN] = { .optional = true, .set = set_pattern },
	[CONFVAL_PATH] = { .optional = true, .set = set_path, .put = put_string },
	[CONFVAL_SINK] = { .set = set_sink, .put = put_string },
	[CONFVAL_FORMAT] = { .set = set_format, .put = put_string },
	[CONFVAL_ENDPOINT] = { .optional = true, .set = set_endpoint, .put = put_string },
	[CONFVAL_NAME] = { .optional = true, .set = set_name, .put = put_string },
	[CONFVAL_CHOICE] = { .set = set_choice, .put = put_choice },
	[CONFVAL_UNSIGNED] = { .set = set_unsigned, .put = put_unsigned },
	[CONFVAL_RANGE] = { .set = set_range, .put = put_range },
	[CONFVAL_NUMBER] = { .set = set_number, .put = put_number },
	[CONFVAL_BYTES] = { .set = set_bytes, .put = put_bytes },
	[CONFVAL_INT] = { .set = set_int, .put = put_int },
	[CONFVAL_MODE] = { .set = set_mode, .put = put_mode },
	[CONFVAL_DURATION] = { .set = set_duration, .put = put_duration },
	[CONFVAL_SIGNAL] = { .set = set_signal, .put = put_signal },
	[CONFVAL_BOOL] = { .set = set_bool, .put = put_bool },
	[CONFVAL_LIMIT] = { .empty = true, .set = set_limit, .put = put_limit },
	[CONFVAL_SIZE] = { .empty = true, .set = set_limit, .put = put_limit },
	[CONFVAL_ADDRESSES] = { .raw = true, .set = set_addresses, .put = put_addresses },
	[CONFVAL_NETWORKS] = { .raw = true,
		.optional = true,
		.set = set_networks,
		.put = put_networks },
	[CONFVAL_NAMES] = { .raw = true, .optional = true, .set = set_names, .put = put_words },
	[CONFVAL_VARIABLES] = { .raw = true,
		.optional = true,
		.set = set_variables,
		.put = put_words },
	[CONFVAL_PROGRAM] = { .raw = true,
		.optional = true,
		.set = set_program,
		.put = put_program },
	[CONFVAL_ENV] = { .empty = true, .set = set_env },
};

int confval_set(const struct confval *value, const char *name, const char *text, void *base,
	struct err *err)
{
	const struct type *type = &types[value->type];
	struct slot slot = { .value = value, .name = name, .base = base, .err = err };

	if (confword_is_empty(text) && !type->empty)
		return type->optional ? 0 : err_set(err, EX_CONFIG, "a value is missing");
	if (type->raw)
		return type->set(&slot, text);
	char *one = confword_one(text, err);
	if (one == NULL)
		return -1;
	int rc = type->set(&slot, one);
	free(one);
	return rc;
}

void confval_print(const struct confval *value, const char *name, const void *base, FILE *out)
{
	struct slot slot = { .value = value, .name = name, .from = base };

	if (value->type == CONFVAL_PATTERN)
		return;
	if (value->type == CONFVAL_ENV) {
		conflist_put_env(base, out);
		return;
	}
	fprintf(out, "%s =", name);
	char *text = NULL;
	size_t size = 0;
	FILE *buffer = open_memstream(&text, &size);
	if (buffer != NULL) {
		types[value->type].put(&slot, buffer);
		fclose(buffer);
	}
	fprintf(out, "%s%s\n", size > 0 ? " " : "", size > 0 ? text : "");
	free(text);
}
