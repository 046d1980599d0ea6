/*
 * answer: HTTP status and JSON of the gate to the exit codes of sysexits(3).
 *
 * A command has happened only where the gate says both 200 and "ok": anything else is a failure,
 * with its reason where there is one.
 */
#include "ctl/answer.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sysexits.h>

#include "common/err.h"
#include "ctl/print.h"
#include "ctl/wire.h"

static int code_of(long status, bool ok)
{
	switch (status) {
	case 200:
		return ok ? EXIT_SUCCESS : EXIT_FAILURE;
	case 403:
		return EX_NOPERM;
	case 429: /* too many clients */
	case 503: /* the master does not answer in time */
		return EX_TEMPFAIL;
	default:
		return EXIT_FAILURE;
	}
}

void answer_read(const struct wire_reply *reply, struct answer *answer)
{
	json_t *json = json_loadb(reply->body != NULL ? reply->body : "", reply->length, 0, NULL);
	const char *message = json_string_value(json_object_get(json, "message"));

	answer->code = code_of(reply->status, json_is_true(json_object_get(json, "ok")));
	if (message != NULL)
		print_safe(message, answer->text, sizeof(answer->text));
	else if (answer->code == EX_NOPERM)
		snprintf(answer->text, sizeof(answer->text), "not permitted");
	else
		snprintf(answer->text, sizeof(answer->text),
			"the gate answers with HTTP status %ld and no reason", reply->status);
	json_decref(json);
}

void answer_fail(const struct err *err, struct answer *answer)
{
	answer->code = err->code;
	print_safe(err->text, answer->text, sizeof(answer->text));
}

/* jansson escapes all that is not printable ASCII, but for DEL. */
static int emit(const char *bytes, size_t length, void *arg)
{
	FILE *out = arg;

	for (size_t i = 0; i < length; i++) {
		if (bytes[i] == '\177')
			fputs("\\u007f", out);
		else
			fputc(bytes[i], out);
	}
	return 0;
}

static int dump(json_t *json, FILE *out)
{
	int rc = -1;

	if (json != NULL)
		rc = json_dump_callback(json, emit, out, JSON_INDENT(2) | JSON_ENSURE_ASCII);

	json_decref(json);
	if (rc == 0)
		fputc('\n', out);
	return rc;
}

int answer_print(const struct answer *answer, FILE *out)
{
	return dump(json_pack("{s:b, s:s}", "ok", answer->code == EXIT_SUCCESS, "message",
			    answer->text),
		out);
}

int answer_print_json(const struct wire_reply *reply, FILE *out)
{
	return dump(
		json_loadb(reply->body != NULL ? reply->body : "", reply->length, 0, NULL), out);
}
