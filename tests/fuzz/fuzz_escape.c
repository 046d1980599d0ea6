/*
 * Everything that writes foreign bytes for somebody to read.
 *
 * log_escape() and conferr_deliver() give one printable line that can be decoded to what it was
 * made of; confword_print() gives what both readers of values take for the same word; text_utf8()
 * gives UTF-8.
 */
#include <jansson.h>
#include <stdbool.h>

#define LIBBSD_OPENBSD_VIS
#include <bsd/vis.h>

#include "common/conferr.h"
#include "common/confword.h"
#include "common/err.h"
#include "common/log.h"
#include "fuzz.h"
#include "gate/text.h"

static bool is_printable(const char *text)
{
	for (; *text != '\0'; text++)
		if (*text != '\t' && (*text < ' ' || *text > '~'))
			return false;
	return true;
}

/* Decodes to bytes that begin with those; returns how many there are. */
static size_t decode(const char *text, const uint8_t *bytes, size_t length)
{
	char *plain = malloc(strlen(text) + 1);

	MUST(plain != NULL);
	int n = strunvis(plain, text);
	MUST(n >= 0 && (size_t)n <= length);
	MUST(memcmp(plain, bytes, (size_t)n) == 0);
	free(plain);
	return (size_t)n;
}

/* With room enough nothing is lost, with less it is cut between two characters. */
static void check_log(const uint8_t *bytes, size_t length, size_t room)
{
	size_t whole = 4 * length + 6;
	char *out = malloc(whole);

	MUST(out != NULL);
	MUST(log_escape(bytes, length, out, whole) == out);
	MUST(is_printable(out) && decode(out, bytes, length) == length);
	free(out);

	out = malloc(room);
	MUST(out != NULL);
	log_escape(bytes, length, out, room);
	MUST(memchr(out, '\0', room) != NULL && is_printable(out));
	decode(out, bytes, length);
	free(out);
}

static void check_mistake(const char *text)
{
	char file[] = "f";
	char *files[] = { file, NULL };
	struct conferr list = { 0 };
	struct err_list errors = { 0 };

	conferr_add(&list, (struct conf_place){ .file = file, .line = 7 }, 78, "%s", text);
	conferr_deliver(&list, files, &errors);
	MUST(errors.count == 1 && is_printable(errors.items[0].text));
	MUST(strchr(errors.items[0].text, '\t') == NULL);
	MUST(strncmp(errors.items[0].text, "f:7: ", 5) == 0);
	if (strlen(text) < sizeof(errors.items[0].text) / 4 - 8)
		MUST(decode(errors.items[0].text + 5, (const uint8_t *)text, strlen(text)) ==
			strlen(text));
	err_list_free(&errors);
}

static void check_word(const char *text)
{
	char *printed = NULL, *one;
	size_t size = 0;
	struct err err;
	FILE *out = open_memstream(&printed, &size);

	MUST(out != NULL);
	confword_print(text, out);
	fputs(" ; a comment", out);
	MUST(fclose(out) == 0);
	one = confword_one(printed, &err);
	MUST(one != NULL && strcmp(one, text) == 0);
	free(one);
	char **words = confword_split(printed, &err);
	MUST(words != NULL && words[0] != NULL && strcmp(words[0], text) == 0);
	MUST(words[1] == NULL);
	confword_free(words);
	free(printed);
}

static void check_utf8(const char *text, size_t room)
{
	size_t most = 3 * strlen(text) + 1; /* each byte may become U+FFFD */
	char *whole = malloc(most + 1), *cut = malloc(room);

	MUST(whole != NULL && cut != NULL);
	MUST(text_utf8(text, whole, most + 1) == whole && text_utf8(text, cut, room) == cut);
	json_t *json = json_string(whole);
	MUST(json != NULL); /* else it is no UTF-8 */
	json_decref(json);
	MUST(strlen(cut) < room && strncmp(whole, cut, strlen(cut)) == 0);
	json = json_string(cut);
	MUST(json != NULL);
	json_decref(json);
	json = json_string(text);
	if (json != NULL)
		MUST(strcmp(text, whole) == 0);
	json_decref(json);
	free(whole);
	free(cut);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	uint8_t *copy = fuzz_copy(data + 1, size - 1);
	char *text = fuzz_text(data + 1, size - 1);

	check_log(copy, size - 1, (size_t)data[0] + 1);
	check_mistake(text);
	check_utf8(text, (size_t)data[0] + 1);
	if (strchr(text, '\n') == NULL)
		check_word(text);
	free(text);
	free(copy);
	return 0;
}
