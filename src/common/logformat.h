/*
 * logformat: the text of access-format becomes a list of steps: literal text, and named fields.
 *
 * The text is checked where the configuration is read, and made into steps once, where a worker
 * starts. Must never know what a field's value is.
 */
#ifndef PREFORKD_LOGFORMAT_H
#define PREFORKD_LOGFORMAT_H

#include <stdbool.h>
#include <stddef.h>

struct err;

/* Every field that has no argument: its name, and the parameters that it is read from, where that
 * is all; the first that is there and not empty. */
#define LOGFORMAT_FIELDS(X)                                  \
	X(METHOD, "method", "REQUEST_METHOD", NULL)          \
	X(PATH, "path", NULL, NULL)                          \
	X(QUERY, "query", "QUERY_STRING", NULL)              \
	X(URI, "uri", NULL, NULL)                            \
	X(PROTOCOL, "protocol", "SERVER_PROTOCOL", NULL)     \
	X(STATUS, "status", NULL, NULL)                      \
	X(BYTES, "bytes", NULL, NULL)                        \
	X(BYTES_IN, "bytes_in", NULL, NULL)                  \
	X(TIME_US, "time_us", NULL, NULL)                    \
	X(TIME_S, "time_s", NULL, NULL)                      \
	X(POOL, "pool", NULL, NULL)                          \
	X(PID, "pid", NULL, NULL)                            \
	X(REMOTE_ADDR, "remote_addr", "REMOTE_ADDR", NULL)   \
	X(REMOTE_USER, "remote_user", "REMOTE_USER", NULL)   \
	X(HOST, "host", "HTTP_HOST", "SERVER_NAME")          \
	X(REFERER, "referer", "HTTP_REFERER", NULL)          \
	X(USER_AGENT, "user_agent", "HTTP_USER_AGENT", NULL) \
	X(TIME_ISO, "time_iso", NULL, NULL)                  \
	X(TIME_CLF, "time_clf", NULL, NULL)                  \
	X(REQUEST_ID, "request_id", "REQUEST_ID", "HTTP_X_REQUEST_ID")

#define LOGFORMAT_ENUM(id, name, first, second) LOGFORMAT_##id,
enum logformat_field {
	LOGFORMAT_FIELDS(LOGFORMAT_ENUM) LOGFORMAT_PARAM, /* any parameter: %{param:NAME} */
	LOGFORMAT_LITERAL
};
#undef LOGFORMAT_ENUM

struct logformat_step {
	enum logformat_field field;
	const char *text; /* the literal, or the name of the parameter */
	size_t length;
	const char *second; /* another parameter, where the first says nothing; NULL: none */
};

#define LOGFORMAT_STEPS 128 /* of one format, at most */
#define LOGFORMAT_TEXT 4096 /* bytes of it, at most */

struct logformat {
	bool json; /* it begins with a brace: values are escaped for JSON */
	size_t count;
	struct logformat_step steps[LOGFORMAT_STEPS];
	char *kept; /* what the steps point into */
};

/* text: a name that is ready-made (common, combined, json), or a format. NULL with *err filled. */
struct logformat *logformat_compile(const char *text, struct err *err);
void logformat_free(struct logformat *format);

#endif
