/*
 * page: page.html with page.css and page.js put in, and a nonce.
 *
 * The three files stand beside this one and are embedded by the assembler as they are. The policy
 * forbids everything but these two elements, questions to where the page came from, and its icon,
 * which is a data: URL.
 */
#include "gate/page.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define NONCE_BYTES 16

/* The symbols are local to this object. */
#define EMBED(name, file)                                                                    \
	__asm__(".pushsection .rodata\n" #name ":\n.incbin \"src/gate/" file "\"\n.byte 0\n" \
		".popsection\n");                                                            \
	extern const char name[] __attribute__((visibility("hidden")))
EMBED(page_frame, "page.html");
EMBED(page_style, "page.css");
EMBED(page_script, "page.js");

static int make_nonce(char *out)
{
	uint8_t bytes[NONCE_BYTES];

	if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
		return -1;
	for (size_t i = 0; i < sizeof(bytes); i++)
		snprintf(out + 2 * i, 3, "%02x", bytes[i]);
	return 0;
}

/* Writes text with each mark replaced. */
static void expand(FILE *out, const char *text, const char *nonce)
{
	const struct {
		const char *mark, *value;
	} marks[] = { { "@NONCE@", nonce }, { "@STYLE@", page_style },
		{ "@SCRIPT@", page_script } };
	const char *at;

	while ((at = strchr(text, '@')) != NULL) {
		const char *value = "@";
		size_t length = 1;
		for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++)
			if (strncmp(at, marks[i].mark, strlen(marks[i].mark)) == 0) {
				value = marks[i].value;
				length = strlen(marks[i].mark);
			}
		fwrite(text, 1, (size_t)(at - text), out);
		fputs(value, out);
		text = at + length;
	}
	fputs(text, out);
}

int page_make(struct page *page)
{
	char nonce[2 * NONCE_BYTES + 1];
	size_t length;
	FILE *out;

	if (make_nonce(nonce) != 0)
		return -1;
	page->html = NULL;
	out = open_memstream(&page->html, &length);
	if (out == NULL)
		return -1;
	expand(out, page_frame, nonce);
	if (fclose(out) != 0 || page->html == NULL) {
		free(page->html);
		errno = ENOMEM;
		return -1;
	}
	snprintf(page->policy, sizeof(page->policy),
		"default-src 'none'; script-src 'nonce-%s'; style-src 'nonce-%s'; "
		"connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
		"frame-ancestors 'none'",
		nonce, nonce);
	return 0;
}
