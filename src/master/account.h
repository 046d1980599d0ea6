/*
 * account: users and groups by name or number. Asks the name service.
 */
#ifndef PREFORKD_ACCOUNT_H
#define PREFORKD_ACCOUNT_H

#include <sys/types.h>

struct passwd;

/* NULL: there is none. Valid until the next call. */
const struct passwd *account_user(const char *name);
/* A number that no group has is one too. */
int account_group(const char *name, gid_t *gid);

#endif
