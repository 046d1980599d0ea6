/*
 * confword: the words of a value: quoting, comments, the way back, and what was meant.
 *
 * Quoting is the shell's without a shell: 'all literal', "literal but for \" \\ \$ \`", and a
 * backslash outside of quotes takes the next character as it is. No variables, no globs.
 * A ";" after a blank, or at the start, and outside of quotes, begins a comment.
 */
#ifndef PREFORKD_CONFWORD_H
#define PREFORKD_CONFWORD_H

#include <stdbool.h>
#include <stdio.h>

struct err;

/* Nothing but blanks and a comment? */
bool confword_is_empty(const char *value);

/* The words of a value, NULL-terminated; for confword_free(). NULL with *err filled. */
char **confword_split(const char *value, struct err *err);
void confword_free(char **words);

/* A value that is one text: quoted as one word when it begins with a quote, else all of it, taken
 * literally. "" for an empty value. For free(); NULL with *err filled. */
char *confword_one(const char *value, struct err *err);

/* Writes a word such that both readers above give it back. It must have no newline. */
void confword_print(const char *word, FILE *out);

/* How many letters must be put in, left out, changed or swapped to make b of a, without regard to
 * case; more than CONFWORD_FAR when it makes no sense to ask whether b was meant. */
#define CONFWORD_FAR 3u
unsigned confword_distance(const char *a, const char *b);

/* The candidate (of a NULL-terminated list) that was probably meant, or NULL. */
const char *confword_near(const char *word, const char *const *candidates);

#endif
