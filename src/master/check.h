/*
 * check: is there, on this machine, what a configuration asks for? Users, groups, programs,
 * modules, directories, files; what is found goes into the configuration (ids, the program's path).
 */
#ifndef PREFORKD_CHECK_H
#define PREFORKD_CHECK_H

#include <stdbool.h>

struct conf;
struct conf_options;
struct err;
struct err_list;

/* Adds "FILE:LINE: sentence" for everything that is missing: EX_NOPERM for users and groups,
 * EX_UNAVAILABLE for programs, modules and directories, EX_CANTCREAT for logs and outputs that
 * could not be opened. with_log: the key "log" is in use, as it is not in the foreground. */
void check_conf(struct conf *conf, bool with_log, struct err_list *errors);

/* For a reload: the configuration as it is on disk now, loaded and checked. NULL: *err is the first
 * of what is wrong, and the log has the others. */
struct conf *check_read(const struct conf_options *options, bool with_log, struct err *err);

#endif
