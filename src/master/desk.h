/*
 * desk: the master's side of the gate: its listeners, its process, and the messages between them.
 *
 * The gate is started when it is there to be, again when it dies, and serving never depends on it.
 * Nothing here waits: a gate that does not read its answers, or sends what it should not, is
 * killed. After an upgrade there are two for a moment: the former one gets the answers that it
 * still waits for.
 */
#ifndef PREFORKD_DESK_H
#define PREFORKD_DESK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/gatejob.h"

struct conf;
struct desk;
struct err;
struct event_base;
struct ledger;
struct state_in;
struct state_out;

struct desk *desk_new(gatejob_body body);
/* Opens what the configuration asks for; nothing: there will be no gate. */
int desk_open(struct desk *desk, const struct conf *conf, struct err *err);
/* Removes the sockets. */
void desk_free(struct desk *desk);

/* Starts a gate where there should be one. owed: the former one waits for an answer, and stays.
 * Returns when it wants to be called next; UINT64_MAX: when something happens. */
uint64_t desk_follow(struct desk *desk, struct event_base *base, bool owed, uint64_t now);

/* One that is older than the former is only seen to its end. */
enum desk_line { DESK_NOW, DESK_FORMER, DESK_OLDER, DESK_LINES };
/* The next request; false: none for now. */
bool desk_receive(
	struct desk *desk, enum desk_line *from, struct gatejob_request *out, uint64_t now);
void desk_answer(struct desk *desk, enum desk_line to, uint64_t id, enum gatejob_status status,
	const char *text);

/* What the gate that runs reads; NULL: none does. */
struct ledger *desk_ledger(const struct desk *desk);
pid_t desk_pid(const struct desk *desk); /* 0: none */
unsigned desk_restarts(const struct desk *desk);

/* It has not been reaped yet. True: it was a gate. */
bool desk_died(struct desk *desk, pid_t pid, int status, uint64_t now);

/* The gate is to go; it may send what it has. True: it has gone. */
bool desk_end(struct desk *desk, uint64_t now);

/* For an upgrade. The desk that restores is new. */
void desk_save(const struct desk *desk, struct state_out *out);
int desk_restore(struct desk *desk, struct state_in *in, struct err *err);

#endif
