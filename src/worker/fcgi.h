/*
 * fcgi: the records of FastCGI 1.0, from bytes to events, and the records that a worker sends.
 *
 * A pure state machine: no system call, no allocation, no clock. However the bytes are cut, the
 * events are the same, but that the content of a stream comes in other pieces. It serves one
 * request at a time and says so: what another client would have to know it answers by itself
 * (FCGI_REPLY).
 */
#ifndef PREFORKD_FCGI_H
#define PREFORKD_FCGI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FCGI_HEADER 8
#define FCGI_CONTENT_MAX 65535
#define FCGI_END_SIZE 16 /* bytes of an FCGI_END_REQUEST */
#define FCGI_ANSWER_MORE (2 * FCGI_HEADER + FCGI_END_SIZE)
#define FCGI_REPLY_MAX 96

enum fcgi_type {
	FCGI_BEGIN_REQUEST = 1,
	FCGI_ABORT_REQUEST,
	FCGI_END_REQUEST,
	FCGI_PARAMS,
	FCGI_STDIN,
	FCGI_STDOUT,
	FCGI_STDERR,
	FCGI_DATA,
	FCGI_GET_VALUES,
	FCGI_GET_VALUES_RESULT,
	FCGI_UNKNOWN_TYPE,
};

/* Numbers of the specification; the role R is served where 1 << (R - 1) is in roles. */
enum fcgi_role { FCGI_RESPONDER = 1, FCGI_AUTHORIZER, FCGI_FILTER };

/* protocolStatus of FCGI_END_REQUEST */
enum fcgi_status { FCGI_REQUEST_COMPLETE, FCGI_CANT_MPX_CONN, FCGI_OVERLOADED, FCGI_UNKNOWN_ROLE };

enum fcgi_event_kind {
	FCGI_MORE,       /* all bytes are used, and nothing has happened */
	FCGI_BEGUN,      /* a request: id, role and keep are its own from now on */
	FCGI_PARAM_SOME, /* bytes of FCGI_PARAMS */
	FCGI_PARAM_END,  /* the head is whole */
	FCGI_BODY_SOME,  /* bytes of FCGI_STDIN */
	FCGI_BODY_END,
	FCGI_DATA_SOME, /* bytes of FCGI_DATA, which only a filter gets, and after FCGI_STDIN */
	FCGI_DATA_END,
	FCGI_ABORTED, /* the client wants no answer any more; the request still has to be ended */
	FCGI_REPLY,   /* bytes to send to the client as they are */
	FCGI_REFUSED, /* the same, and then the connection is to be closed */
	FCGI_BROKEN,  /* this is no FastCGI: nothing that follows makes sense */
};

struct fcgi_event {
	enum fcgi_event_kind kind;
	const uint8_t *bytes; /* into what was given, or into struct fcgi; until the next call */
	size_t length;
};

/* The pairs of an FCGI_GET_VALUES record, byte by byte: it may be as long as it likes. */
struct fcgi_ask {
	uint8_t step, got;  /* which field, how many bytes of it */
	uint32_t length[2]; /* still to come, of name and value */
	char name[16];
	unsigned found; /* bits of the values that are asked for */
};

/* A new connection: the first three are set, all else is zero. Only fcgi.c writes here then. */
struct fcgi {
	unsigned max_conns, max_reqs; /* what FCGI_GET_VALUES is told */
	uint8_t roles;                /* those that are served; others get FCGI_UNKNOWN_ROLE */
	uint8_t header[FCGI_HEADER];
	uint8_t header_length;
	uint8_t use;               /* what the record in hand is good for */
	uint8_t stage;             /* how far the request is */
	uint8_t role;              /* of the request */
	bool keep;                 /* FCGI_KEEP_CONN of the request */
	uint16_t id;               /* of the request */
	uint32_t content, padding; /* of the record in hand, still to come */
	uint8_t begin[8], begin_length;
	struct fcgi_ask ask;
	uint8_t reply[FCGI_REPLY_MAX];
};

/* The first event in the bytes; returns how many of them it used. length > 0. */
size_t fcgi_next(struct fcgi *f, const uint8_t *bytes, size_t length, struct fcgi_event *event);

/* The request has been answered: what still comes of it is skipped, the next one may begin. */
void fcgi_forget(struct fcgi *f);
/* Between two records, and no request has begun. */
bool fcgi_is_fresh(const struct fcgi *f);
/* Everything that belongs to the request has been read, but for padding of its last record. */
bool fcgi_is_read(const struct fcgi *f);
/* How many bytes of the record in hand are still to come, as far as its header has said; 0: none
 * is in hand. */
size_t fcgi_rest(const struct fcgi *f);

/* Writes the header of a record with so much content, up to FCGI_CONTENT_MAX, and no padding. */
void fcgi_put_header(uint8_t out[FCGI_HEADER], enum fcgi_type type, uint16_t id, size_t content);
void fcgi_put_end(
	uint8_t out[FCGI_END_SIZE], uint16_t id, uint32_t app_status, enum fcgi_status status);
/* A whole answer: the text as FCGI_STDOUT, its end, and the end of the request. out has room for
 * FCGI_ANSWER_MORE bytes beside the text. How many there are. Safe in a signal handler. */
size_t fcgi_put_answer(
	uint8_t *out, uint16_t id, const char *text, size_t length, uint32_t app_status);

/* Turns the name-value pairs that are the content of a whole FCGI_PARAMS stream into "NAME=VALUE"
 * strings, in place. There must be room for one more byte, and in list for fcgi_most_pairs(). How
 * many there are; -1: they are cut, and what has been written is worth nothing. */
int fcgi_split_pairs(uint8_t *bytes, size_t length, char **list);

/* Each has two lengths at least. */
static inline size_t fcgi_most_pairs(size_t length)
{
	return length / 2;
}

#endif
