/*
 * confword: how a value is cut into words, and how a word is written so that it is cut back.
 *
 * Splitting and printing stand in one room because each is only right with regard to the other.
 * Knows nothing of keys, files or what words mean. Must never expand anything: what is written is
 * what a program gets.
 */
#include "common/confword.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "common/err.h"

#define NEAR_LENGTH 48 /* longer words are not compared */

static bool is_blank(char c)
{
	return isspace((unsigned char)c) != 0;
}

bool confword_is_empty(const char *value)
{
	while (is_blank(*value))
		value++;
	return *value == '\0' || *value == ';';
}

/* Appends what is inside of quotes; p is behind the opening one. Returns what is behind the closing
 * one, or NULL. */
static const char *take_quoted(const char *p, char quote, char **to)
{
	for (; *p != quote; p++) {
		if (*p == '\0')
			return NULL;
		if (quote == '"' && *p == '\\' && p[1] != '\0' && strchr("\"\\$`", p[1]) != NULL)
			p++;
		*(*to)++ = *p;
	}
	return p + 1;
}

/* Takes one word to out, which has room for all of p. Returns what follows, or NULL. */
static const char *take_word(const char *p, char *out, struct err *err)
{
	while (*p != '\0' && !is_blank(*p)) {
		if (*p == '\'' || *p == '"') {
			char quote = *p;
			p = take_quoted(p + 1, quote, &out);
			if (p == NULL) {
				err_set(err, EX_CONFIG, "a quote (%c) is not closed", quote);
				return NULL;
			}
			continue;
		}
		if (*p == '\\' && *++p == '\0') {
			err_set(err, EX_CONFIG, "the value ends with a backslash");
			return NULL;
		}
		*out++ = *p++;
	}
	*out = '\0';
	return p;
}

char **confword_split(const char *value, struct err *err)
{
	size_t length = strlen(value), n = 0;
	/* Every word but the last is followed by a blank. */
	char **words = calloc(length / 2 + 2, sizeof(*words));
	char *word = malloc(length + 1);

	if (words == NULL || word == NULL) {
		err_set(err, EX_OSERR, "out of memory");
		goto failed;
	}
	while (!confword_is_empty(value)) {
		while (is_blank(*value))
			value++;
		value = take_word(value, word, err);
		if (value == NULL)
			goto failed;
		words[n] = strdup(word);
		if (words[n++] == NULL) {
			err_set(err, EX_OSERR, "out of memory");
			goto failed;
		}
	}
	free(word);
	return words;
failed:
	free(word);
	confword_free(words);
	return NULL;
}

void confword_free(char **words)
{
	for (char **w = words; w != NULL && *w != NULL; w++)
		free(*w);
	free(words);
}

/* Without quotes only the comment and the blanks around are cut off. */
static char *literal(const char *value, struct err *err)
{
	const char *end;
	char *text;

	while (is_blank(*value))
		value++;
	for (end = value; *end != '\0'; end++)
		if (*end == ';' && (end == value || is_blank(end[-1])))
			break;
	while (end > value && is_blank(end[-1]))
		end--;
	text = strndup(value, (size_t)(end - value));
	if (text == NULL)
		err_set(err, EX_OSERR, "out of memory");
	return text;
}

char *confword_one(const char *value, struct err *err)
{
	char **words, *word;

	while (is_blank(*value))
		value++;
	if (*value != '\'' && *value != '"')
		return literal(value, err);
	words = confword_split(value, err);
	if (words == NULL)
		return NULL;
	if (words[1] != NULL) {
		err_set(err, EX_CONFIG, "text follows the closing quote: quote all of the value");
		confword_free(words);
		return NULL;
	}
	word = words[0];
	free(words);
	return word;
}

void confword_print(const char *word, FILE *out)
{
	const char *plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
			    "_@%+=:,./-*[]{}?~^!&|<>()#$`";

	if (*word != '\0' && word[strspn(word, plain)] == '\0') {
		fputs(word, out);
	} else if (strchr(word, '\'') == NULL) {
		fprintf(out, "'%s'", word);
	} else {
		fputc('"', out);
		for (; *word != '\0'; word++) {
			if (strchr("\"\\$`", *word) != NULL)
				fputc('\\', out);
			fputc(*word, out);
		}
		fputc('"', out);
	}
}

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/* Optimal string alignment: three rows of the table are enough. */
unsigned confword_distance(const char *a, const char *b)
{
	unsigned rows[3][NEAR_LENGTH + 1];
	unsigned *before = rows[0], *last = rows[1], *now = rows[2];
	size_t la = strlen(a), lb = strlen(b);

	if (la > NEAR_LENGTH || lb > NEAR_LENGTH)
		return CONFWORD_FAR + 1;
	for (unsigned j = 0; j <= lb; j++)
		before[j] = last[j] = j;
	for (unsigned i = 1; i <= la; i++) {
		unsigned *unused = before;

		now[0] = i;
		for (size_t j = 1; j <= lb; j++) {
			int x = tolower((unsigned char)a[i - 1]),
			    y = tolower((unsigned char)b[j - 1]);
			now[j] = least(last[j - 1] + (x != y), least(last[j], now[j - 1]) + 1);
			if (i > 1 && j > 1 && x == tolower((unsigned char)b[j - 2]) &&
				y == tolower((unsigned char)a[i - 2]))
				now[j] = least(now[j], before[j - 2] + 1);
		}
		before = last;
		last = now;
		now = unused;
	}
	return last[lb];
}

const char *confword_near(const char *word, const char *const *candidates)
{
	const char *best = NULL;
	/* Of a short word little may differ, or everything would be near to it. */
	unsigned limit = least(CONFWORD_FAR, 1 + (unsigned)(strlen(word) / 4));

	for (; *candidates != NULL; candidates++) {
		unsigned distance = confword_distance(word, *candidates);
		if (distance <= limit) {
			best = *candidates;
			if (distance == 0)
				break;
			limit = distance - 1;
		}
	}
	return best;
}
