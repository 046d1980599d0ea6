/*
 * generation: one reading of a pool's configuration, with all that its workers share: listeners and
 * the place for their output.
 */
#ifndef PREFORKD_GENERATION_H
#define PREFORKD_GENERATION_H

#include <stddef.h>

#include "common/conf.h"

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

	/* private */
	struct listen_set *set;
};

/* Opens listeners and output. NULL and *err ("pool NAME: sentence") when something cannot be had;
 * then nothing stays open. conf and set must outlive it. */
struct generation *generation_open(
	const struct conf_pool *conf, unsigned number, struct listen_set *set, struct err *err);
/* For an upgrade: one that was opened by an earlier image, with the listeners of these numbers,
 * none where it was left already. Opens its output anew. */
struct generation *generation_adopt(const struct conf_pool *conf, unsigned number,
	struct listen_set *set, const unsigned *listeners, size_t count, struct err *err);
/* It is the one that serves from now on. */
void generation_enter(const struct generation *generation);
/* Gives the listeners back: no worker will be started any more. */
void generation_leave(struct generation *generation);
/* Frees it; without workers only. */
void generation_close(struct generation *generation);

#endif
