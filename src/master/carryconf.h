/*
 * carryconf: a configuration in use, for the next image: its text, and what check_conf() found.
 *
 * Users and programs are not looked up again: what workers were started with is what their
 * replacements get, whatever has become of the name since. Must never read a file of the
 * administrator's.
 */
#ifndef PREFORKD_CARRYCONF_H
#define PREFORKD_CARRYCONF_H

struct conf;
struct err;
struct state_in;
struct state_out;

void carryconf_save(const struct conf *conf, unsigned number, struct state_out *out);
/* NULL and *err when it cannot be read, as when this version lacks one of its keys. */
struct conf *carryconf_restore(struct state_in *in, unsigned *number, struct err *err);

#endif
