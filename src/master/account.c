/*
 * account: what getpwnam(3) and getgrnam(3) do not know is taken for a number.
 */
#include "master/account.h"

#include <grp.h>
#include <pwd.h>
#include <stdint.h>

#include "common/units.h"

const struct passwd *account_user(const char *name)
{
	const struct passwd *pw = getpwnam(name);
	uint64_t id;

	if (pw != NULL || units_number(name, 0, UINT32_MAX - 1, &id, NULL) != 0)
		return pw;
	return getpwuid((uid_t)id);
}

int account_group(const char *name, gid_t *gid)
{
	const struct group *gr = getgrnam(name);
	uint64_t id;

	if (gr != NULL) {
		*gid = gr->gr_gid;
		return 0;
	}
	if (units_number(name, 0, UINT32_MAX - 1, &id, NULL) != 0)
		return -1;
	*gid = (gid_t)id;
	return 0;
}
