/*
 * conflist: the values of a pool that are made of several words, and their way back.
 */
#ifndef PREFORKD_CONFLIST_H
#define PREFORKD_CONFLIST_H

#include <stdio.h>

#include "common/conf.h"

/* Each reads all of text into the pool and returns 0, or -1 with *err filled. */
int conflist_set_addresses(struct conf_pool *pool, const char *text, struct err *err);
int conflist_set_networks(struct conf_pool *pool, const char *text, struct err *err);
int conflist_set_program(struct conf_pool *pool, const char *text, struct err *err);
int conflist_add_env(struct conf_pool *pool, const char *name, const char *text, struct err *err);
int conflist_set_words(
	char ***out, const char *text, int (*check)(const char *, struct err *), struct err *err);

/* Is it the name of a user or group, or of an environment variable? -1 with *err filled. */
int conflist_check_name(const char *name, struct err *err);
int conflist_check_variable(const char *name, struct err *err);

void conflist_put_addresses(const struct conf_pool *pool, FILE *out);
void conflist_put_networks(const struct conf_pool *pool, FILE *out);
void conflist_put_program(const struct conf_pool *pool, FILE *out);
void conflist_put_env(const struct conf_pool *pool, FILE *out);
void conflist_put_words(char *const *words, FILE *out);

#endif
