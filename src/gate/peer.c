/*
 * peer: as the kernel knew it when it connected, socket(7), unix(7).
 */
#include "gate/peer.h"

#include <sys/socket.h>
#include <sys/types.h>

#include "common/gatejob.h"

#define GROUPS_MAX 1024

static bool is_member(int fd, gid_t gid)
{
	gid_t groups[GROUPS_MAX];
	socklen_t size = sizeof(groups);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) != 0)
		return false;
	for (size_t i = 0; i < size / sizeof(groups[0]); i++)
		if (groups[i] == gid)
			return true;
	return false;
}

bool peer_is_allowed(int fd, const struct gatejob *job)
{
	struct ucred who;
	socklen_t size = sizeof(who);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) != 0 || size != sizeof(who))
		return false;
	if (who.uid == 0 || who.uid == job->daemon_uid)
		return true;
	return job->grouped && (who.gid == job->control_gid || is_member(fd, job->control_gid));
}
