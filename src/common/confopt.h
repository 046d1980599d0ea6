/*
 * confopt: struct conf from command line options instead of a file.
 */
#ifndef PREFORKD_CONFOPT_H
#define PREFORKD_CONFOPT_H

#include "common/conferr.h"

/* Fills conf (empty before) with the pool "main". */
void confopt_load(struct conf *conf, const struct conf_options *options, struct conferr *mistakes);

/* Says which options are no use beside a file. */
void confopt_refuse(const struct conf_options *options, struct conferr *mistakes);

/* What -p says goes before what conf has. */
void confopt_pid_file(
	struct conf *conf, const struct conf_options *options, struct conferr *mistakes);

#endif
