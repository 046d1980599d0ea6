/*
 * door: made in the same way as the listeners of a pool, with nothing by path that others can swap.
 */
#include "master/door.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/conf.h"
#include "common/err.h"
#include "common/units.h"
#include "master/listen.h"

#define BACKLOG 1024

int door_open(struct door *door, const char *text, bool grouped, gid_t gid, struct err *err)
{
	const struct conf_pool pool = { .kind = CONF_APP, /* it never blocks */
		.backlog = BACKLOG,
		.listen_mode = grouped ? 0660 : 0600,
		.listen_uid = geteuid(),
		.listen_gid = grouped ? gid : getegid() };
	struct address address;

	if (units_address(text, &address, err) != 0)
		return -1;
	door->fd = bind_open(&pool, &address, &door->file, err);
	return door->fd < 0 ? -1 : 0;
}

static int open_anew(struct door *door, bool grouped, gid_t gid, struct err *err)
{
	struct sockaddr_un un = { 0 };
	socklen_t length = sizeof(un) - 1;
	struct door fresh = DOOR_NONE;

	if (getsockname(door->fd, (struct sockaddr *)&un, &length) != 0)
		return err_set(err, EX_OSERR, "%s", strerror(errno));
	if (door_open(&fresh, un.sun_path, grouped, gid, err) != 0)
		return -1;
	bind_remove(&door->file); /* it is another file by now, and stays */
	close(door->fd);
	*door = fresh;
	return 0;
}

int door_mend(struct door *door, bool grouped, gid_t gid, struct err *err)
{
	int flags = door->fd < 0 ? -1 : fcntl(door->fd, F_GETFL);

	if (flags < 0)
		return 0;
	fcntl(door->fd, F_SETFL, flags | O_NONBLOCK);
	listen(door->fd, BACKLOG); /* that is enough for one of TCP */
	return bind_is_alive(door->fd) ? 0 : open_anew(door, grouped, gid, err);
}

void door_close(struct door *door)
{
	if (door->fd < 0)
		return;
	bind_remove(&door->file);
	close(door->fd);
	door->fd = -1;
}

static void check_one(const struct conf *conf, const char *key, const char *text, int ours,
	struct err_list *errors)
{
	struct address address;
	char where[300];
	struct err err;

	if (text == NULL ||
		(units_address(text, &address, &err) == 0 &&
			(bind_check(&address, &err) == 0 || listen_belongs(&address, ours))))
		return;
	err_list_add(errors, err.code, "%s: %s: %s",
		conf_where_main(conf, key, where, sizeof(where)), key, err.text);
}

void door_check(const struct conf *conf, int ours, struct err_list *errors)
{
	check_one(conf, "control", conf->control, ours, errors);
	check_one(conf, "http", conf->http, ours, errors);
}
