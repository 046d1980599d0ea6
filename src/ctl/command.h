/*
 * command: tells the daemon to do something, and waits until it has happened or failed.
 */
#ifndef PREFORKD_CTL_COMMAND_H
#define PREFORKD_CTL_COMMAND_H

struct answer;
struct wire;

/* target: as "/reload". timeout in ms, 0: as long as it takes. */
void command_run(struct wire *wire, const char *target, long timeout, struct answer *answer);

/* Stops the daemon: has happened when the master's process has ended. */
void command_stop(struct wire *wire, long timeout, struct answer *answer);

#endif
