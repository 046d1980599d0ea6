/*
 * filter: lets the kernel drop the packets of everyone who is not allowed.
 *
 * A classic BPF program on the listening socket (socket(7), SO_ATTACH_FILTER), locked so that no
 * worker can take it off: it holds for programs that know nothing of it.
 */
#ifndef PREFORKD_FILTER_H
#define PREFORKD_FILTER_H

#include <stddef.h>

struct network;

/* Before listen(2). -1 and errno; EPERM: not permitted here, or the socket has another filter that
 * is locked. One that has the same filter already is fine. */
int filter_attach(int fd, const struct network *allow, size_t count);

#endif
