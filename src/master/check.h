/*
 * check: is there, on this machine, what a configuration asks for? Users, groups, programs,
 * modules, directories; what is found goes into the configuration (ids, the program's path).
 */
#ifndef PREFORKD_CHECK_H
#define PREFORKD_CHECK_H

struct conf;
struct err_list;

/* Adds "FILE:LINE: sentence" for everything that is missing: EX_NOPERM for users and groups,
 * EX_UNAVAILABLE for programs, modules and directories. */
void check_conf(struct conf *conf, struct err_list *errors);

#endif
