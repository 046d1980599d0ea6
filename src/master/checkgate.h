/*
 * checkgate: who the gate is to run as, and who may use its control socket.
 */
#ifndef PREFORKD_CHECKGATE_H
#define PREFORKD_CHECKGATE_H

struct conf;
struct err_list;

/* Fills in the ids of the configuration. */
void checkgate(struct conf *conf, struct err_list *errors);

#endif
