/*
 * checkgate: the keys of [preforkd] that name users and groups, as check does it for pools.
 */
#include "master/checkgate.h"

#include <pwd.h>
#include <stdbool.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/conf.h"
#include "common/err.h"
#include "master/account.h"

static void complain(const struct conf *conf, const char *key, const char *what, const char *name,
	struct err_list *errors)
{
	char where[300];

	err_list_add(errors, EX_NOPERM, "%s: %s: %s%s%s%s",
		conf_where_main(conf, key, where, sizeof(where)), key, what, name ? " \"" : "",
		name ? name : "", name ? "\"" : "");
}

/* Without the key it is a user that nothing else runs as, where there is such a one. */
static void check_user_as_root(struct conf *conf, struct err_list *errors)
{
	const char *name = conf->gate_user;
	const struct passwd *pw = account_user(name != NULL ? name : "preforkd");

	if (pw == NULL && name == NULL)
		pw = account_user("nobody");
	if (pw == NULL) {
		complain(conf, "gate-user", "there is no user", name != NULL ? name : "nobody",
			errors);
		return;
	}
	if (pw->pw_uid == 0) {
		complain(conf, "gate-user", "the gate does not run as root: name another user",
			NULL, errors);
		return;
	}
	conf->gate_uid = pw->pw_uid;
	conf->gate_gid = pw->pw_gid;
}

static void check_user(struct conf *conf, struct err_list *errors)
{
	const struct passwd *pw = conf->gate_user != NULL ? account_user(conf->gate_user) : NULL;

	if (geteuid() == 0) {
		check_user_as_root(conf, errors);
		return;
	}
	if (conf->gate_user != NULL && pw == NULL)
		complain(conf, "gate-user", "there is no user", conf->gate_user, errors);
	else if (pw != NULL && pw->pw_uid != geteuid())
		complain(conf, "gate-user", "only root can run the gate as another user: leave out",
			conf->gate_user, errors);
	conf->gate_uid = geteuid();
	conf->gate_gid = getegid();
}

static void check_group(struct conf *conf, struct err_list *errors)
{
	conf->control_gid = getegid();
	if (conf->control_group == NULL)
		return;
	if (account_group(conf->control_group, &conf->control_gid) != 0)
		complain(conf, "control-group", "there is no group", conf->control_group, errors);
	else if (geteuid() != 0 && conf->control_gid != getegid())
		complain(conf, "control-group",
			"only root can give a socket to another group:", conf->control_group,
			errors);
}

void checkgate(struct conf *conf, struct err_list *errors)
{
	if (conf->control == NULL && conf->http == NULL)
		return;
	check_user(conf, errors);
	check_group(conf, errors);
}
