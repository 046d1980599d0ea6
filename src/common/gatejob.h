/*
 * gatejob: what the master hands to the gate, and what the two say to each other.
 *
 * Messages of a fixed size on one SOCK_SEQPACKET socket. The gate asks, the master answers each
 * request once, when it has happened or failed. The master checks every field; a gate that sends
 * what it should not is killed.
 */
#ifndef PREFORKD_GATEJOB_H
#define PREFORKD_GATEJOB_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define GATEJOB_POOL 40 /* bytes of a pool's name, with the NUL */
#define GATEJOB_TEXT 512
#define GATEJOB_ORDERS_MAX 32 /* commands that wait for an answer at a time */

#define GATEJOB_VERBS(X)                                         \
	X(SNAPSHOT)    /* write the ledger */                    \
	X(RELOAD)      /* all pools */                           \
	X(RELOAD_POOL) /* one pool */                            \
	X(REOPEN)      /* logs */                                \
	X(SCALE)       /* a pool: so many workers */             \
	X(STOP)        /* answered when it begins */             \
	X(UPGRADE)     /* answered by the next image */          \
	X(DRAIN)       /* a pool: the health check is to fail */ \
	X(UNDRAIN)     /* a pool: the health check is to do well */

enum gatejob_verb {
#define X(name) GATEJOB_##name,
	GATEJOB_VERBS(X)
#undef X
		GATEJOB_VERB_COUNT
};

struct gatejob_request {
	uint64_t id; /* never 0 */
	uint32_t verb;
	uint32_t number;         /* SCALE: of workers; else 0 */
	char pool[GATEJOB_POOL]; /* NUL-terminated, and NUL to its end; empty where none is meant */
};

enum gatejob_status {
	GATEJOB_DONE,
	GATEJOB_WRONG,   /* what was asked makes no sense */
	GATEJOB_UNKNOWN, /* there is no such pool */
	GATEJOB_FAILED,  /* refused, or it was tried; the text says why */
	GATEJOB_BUSY,    /* too many commands wait */
	GATEJOB_MOVED,   /* SNAPSHOT: the ledger stays as it was, another gate has taken over */
	GATEJOB_RELIEVED /* no answer, id 0: accept nothing more; another gate has taken over */
};

struct gatejob_answer {
	uint64_t id;
	uint32_t status;
	uint32_t unused;
	char text[GATEJOB_TEXT]; /* a sentence */
};

/* The child's copy of the master's memory at fork. */
struct gatejob {
	int line_fd;             /* the socket; its end is the end of the gate */
	int ledger_fd;           /* a memfd that cannot be mapped for writing any more */
	int control_fd, http_fd; /* listening; -1: none */
	bool drops;              /* the user is to be changed */
	uid_t uid;
	gid_t gid;
	uid_t daemon_uid; /* who may command, beside root */
	bool grouped;     /* and this group */
	gid_t control_gid;
	pid_t master;
};

/* Never returns. Handed from preforkd.c to the master, which knows no gate. */
typedef void (*gatejob_body)(const struct gatejob *job) __attribute__((noreturn));

#endif
