/*
 * generation: one reading of a pool's configuration, with all that its workers share: listeners and
 * the places for their output and their access log.
 */
#ifndef PREFORKD_GENERATION_H
#define PREFORKD_GENERATION_H

#include <stddef.h>

#include "common/conf.h"
#include "master/accessfile.h"

struct err;
struct listen_set;
struct listener;
struct output_sink;

struct generation {
	unsigned number; /* of the configuration it was made from */
	const struct conf_pool *conf;
	struct conf_range range;         /* as configured, or as changed by hand */
	unsigned want;                   /* workers that should be ready */
	struct generation *next_retired; /* in the owner's list */
	unsigned workers;                /* that live, in any state; the owner counts */
	int *listener_fds;
	struct listener **listeners;
	size_t listener_count; /* 0 after generation_leave() */
	struct output_sink *sink;
	struct accessfile access; /* none where no access-log is given */

	/* private */
	struct listen_set *set;
};

/* Opens listeners, output and access log. NULL and *err ("pool NAME: sentence") when something
 * cannot be had; then nothing stays open. conf and set must outlive it. */
struct generation *generation_open(
	const struct conf_pool *conf, unsigned number, struct listen_set *set, struct err *err);
/* For an upgrade: one that was opened by an earlier image, with the listeners of these numbers,
 * none where it was left already, and its access log. Opens its output anew. */
struct generation_parts {
	const unsigned *listeners;
	size_t count;
	struct accessfile access;
};
struct generation *generation_adopt(const struct conf_pool *conf, unsigned number,
	struct listen_set *set, const struct generation_parts *parts, struct err *err);
/* Output and access log anew, for whoever has moved the files away. */
/* -1 with *err, which has been logged: an old file stays. */
int generation_reopen(struct generation *generation, struct err *err);
/* It is the one that serves from now on. */
void generation_enter(const struct generation *generation);
/* Gives the listeners back: no worker will be started any more. */
void generation_leave(struct generation *generation);
/* Frees it; without workers only. */
void generation_close(struct generation *generation);

#endif
