/*
 * conn: one connection until the head of its request is there.
 *
 * Reads without waiting, but where it is told to. What it knows of an unfinished head
 * can be given to another process: the bytes as they came. Never runs anything of the application.
 */
#ifndef PREFORKD_CONN_H
#define PREFORKD_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "worker/fcgi.h"

#define CONN_INPUT 65536 /* bytes that are read at once */
#define CONN_RAW 32768   /* of an unfinished head, that another process can have */

/* What has been read last, of one connection at a time. */
struct conn_input {
	uint8_t bytes[CONN_INPUT];
	size_t at, length; /* what is not parsed yet is between them */
};

enum conn_list {
	CONN_PENDING, /* more bytes are here, or in the kernel, than have been parsed */
	CONN_KEPT,    /* had a request, waits for the next */
	CONN_HEAD,    /* its first request, or a part of one */
	CONN_LINGERS, /* has an answer to read, and is then closed */
	CONN_LISTS,
	CONN_NOWHERE = CONN_LISTS
};

struct conn {
	TAILQ_ENTRY(conn) link;
	int fd;              /* -1: closed */
	enum conn_list list; /* of the crowd */
	uint64_t deadline;   /* ms of the monotonic clock; 0: none */
	uint64_t
		head_due; /* ms: when its head must be whole, whoever has it; 0: it has not begun */
	bool watched;     /* in the epoll set */
	bool remote;      /* its bytes come over TCP */
	uint8_t given;    /* how often by siblings, since its last request */
	uint32_t requests; /* that it has brought: it is kept open after the first */
	struct fcgi fcgi;
	uint8_t *head; /* content of FCGI_PARAMS; owned */
	size_t head_length, head_room;
	uint8_t *raw; /* all bytes since the last request, where they are few; owned */
	size_t raw_length;
	bool raw_lost;   /* they were too many, or an old request is not over */
	bool raw_unread; /* they have not been parsed yet: they go before what arrives */
	size_t lingered; /* bytes */
};

enum conn_state {
	CONN_WAITS, /* for more bytes */
	CONN_READY, /* the head is whole; the rest is in input */
	CONN_OVER,  /* the client has gone, or must go */
	CONN_SHUT,  /* it must go, but first it has to read an answer */
};

/* NULL: no memory. Takes fd. One thread alone may make and free them. */
struct conn *conn_new(int fd, unsigned max_conns, unsigned max_reqs, unsigned roles);
/* Closes it, if it is open. */
void conn_free(struct conn *c);
/* The client need not wait until the rest is done. Nothing is read or sent any more. */
void conn_close(struct conn *c);

/* Reads what is there. max_head: of bytes of FCGI_PARAMS; more are refused with an answer. patient:
 * waits for it, up to SO_RCVTIMEO. */
enum conn_state conn_read(struct conn *c, struct conn_input *input, size_t max_head, bool patient);
/* Puts bytes before those that will be read. False: no memory, or too many. */
bool conn_push(struct conn *c, const uint8_t *bytes, size_t length);
/* The request is over: gets ready for the next, with what is left of the input. False: it cannot.
 */
bool conn_next(struct conn *c, struct conn_input *input);

/* Another process can have it, with raw. */
bool conn_is_movable(const struct conn *c);
/* No byte of a request is here. */
bool conn_is_idle(const struct conn *c);

/* Reads away what the client still sends. False: it can be closed. */
bool conn_linger(struct conn *c, struct conn_input *input);

#endif
