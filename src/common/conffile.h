/*
 * conffile: struct conf from a file and the files that it includes.
 */
#ifndef PREFORKD_CONFFILE_H
#define PREFORKD_CONFFILE_H

#include "common/conferr.h"

/* Fills conf (empty before) from the file; what could be read is in it even after mistakes. */
void conffile_load(struct conf *conf, const char *path, struct conferr *mistakes);

#endif
