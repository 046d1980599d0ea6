/*
 * route: the table of URLs. What can be read is rendered once for all who ask at the same time; a
 * command goes to the master, and its client waits for what becomes of it.
 */
#include "gate/route.h"

#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/conf.h"
#include "common/gatejob.h"
#include "common/units.h"
#include "gate/conns.h"
#include "gate/line.h"
#include "gate/metrics.h"
#include "gate/page.h"
#include "gate/peer.h"
#include "gate/reply.h"
#include "gate/report.h"
#include "gate/vitals.h"

#define CONTROL_MOST 64
#define HTTP_MOST 128
#define PATH_LONGEST 1024
#define FORBIDDEN 403
#define METHOD_NOT_ALLOWED 405
#define CONFLICT 409
#define URI_TOO_LONG 414
#define TOO_MANY 429

struct site;

/* What one can read. render: for free(); fills in the code. */
struct view {
	const char *path, *type;
	char *(*render)(struct site *site, const struct ledger *ledger, int *code);
	bool asked; /* only for those who say that they know its type */
};

/* What one can do. In the path, * stands for a pool. */
struct deed {
	const char *path;
	enum gatejob_verb verb;
};

static char *render_status(struct site *site, const struct ledger *ledger, int *code);
static char *render_health(struct site *site, const struct ledger *ledger, int *code);
static char *render_metrics(struct site *site, const struct ledger *ledger, int *code);
static char *render_plain(struct site *site, const struct ledger *ledger, int *code);

static const struct view views[] = {
	{ .path = "/status", .type = "application/json", .render = render_status },
	{ .path = "/healthz", .type = "text/plain; charset=utf-8", .render = render_health },
	{ .path = "/metrics", .type = METRICS_OPEN, .render = render_metrics, .asked = true },
	{ .path = "/metrics", .type = METRICS_PLAIN, .render = render_plain },
};

static const struct deed deeds[] = {
	{ "/reload", GATEJOB_RELOAD },
	{ "/reopen", GATEJOB_REOPEN },
	{ "/stop", GATEJOB_STOP },
	{ "/upgrade", GATEJOB_UPGRADE },
	{ "/pools/*/reload", GATEJOB_RELOAD_POOL },
	{ "/pools/*/scale", GATEJOB_SCALE },
	{ "/pools/*/drain", GATEJOB_DRAIN },
	{ "/pools/*/undrain", GATEJOB_UNDRAIN },
};

enum { VIEWS = sizeof(views) / sizeof(views[0]), DEEDS = sizeof(deeds) / sizeof(deeds[0]) };

/* One of the two sockets. */
struct port {
	struct site *site;
	struct conns *conns;
	bool commands; /* it is the control socket */
};

/* A view as it was rendered last. */
struct picture {
	struct body *body;
	int code;
	uint64_t serial;
};

struct site {
	const struct gatejob *job;
	struct line *line;
	struct vitals *vitals;
	uint64_t looked; /* the snapshot whose workers' vitals were taken */
	struct port control, http;
	struct picture pictures[VIEWS];
	void (*gone)(void *arg);
	void *arg;
};

/* A request that waits for the master. */
struct visit {
	struct port *port;
	struct evhttp_request *request;
	size_t view;
};

static const struct vitals *vitals(struct site *site, const struct ledger *ledger)
{
	if (site->looked != line_serial(site->line))
		vitals_take(site->vitals, ledger);
	site->looked = line_serial(site->line);
	return site->vitals;
}

static char *render_status(struct site *site, const struct ledger *ledger, int *code)
{
	*code = HTTP_OK;
	return report_json(ledger, vitals(site, ledger));
}

static char *render_health(struct site *site, const struct ledger *ledger, int *code)
{
	bool healthy;
	char *text = report_health(ledger, &healthy);

	(void)site;
	*code = healthy ? HTTP_OK : HTTP_SERVUNAVAIL;
	return text;
}

static char *render_metrics(struct site *site, const struct ledger *ledger, int *code)
{
	*code = HTTP_OK;
	return metrics_text(ledger, vitals(site, ledger), true);
}

static char *render_plain(struct site *site, const struct ledger *ledger, int *code)
{
	*code = HTTP_OK;
	return metrics_text(ledger, vitals(site, ledger), false);
}

static const struct picture *picture_of(struct site *site, size_t view, const struct ledger *ledger)
{
	struct picture *p = &site->pictures[view];
	uint64_t serial = line_serial(site->line);

	if (p->body != NULL && p->serial == serial)
		return p;
	reply_drop(p->body);
	p->serial = serial;
	p->body = reply_body(views[view].render(site, ledger, &p->code));
	return p;
}

static void on_snapshot(const struct ledger *ledger, void *arg)
{
	struct visit *v = arg;

	if (ledger != NULL) {
		const struct picture *p = picture_of(v->port->site, v->view, ledger);

		reply_send(v->port->conns, v->request, p->code, views[v->view].type, p->body);
	} else {
		reply_answer(v->port->conns, v->request, HTTP_SERVUNAVAIL,
			"the master did not answer in time");
	}
	free(v);
}

static void on_done(enum gatejob_status status, const char *text, void *arg)
{
	static const int codes[] = {
		[GATEJOB_DONE] = HTTP_OK,
		[GATEJOB_WRONG] = HTTP_BADREQUEST,
		[GATEJOB_UNKNOWN] = HTTP_NOTFOUND,
		[GATEJOB_FAILED] = CONFLICT,
	};
	struct visit *v = arg;

	reply_answer(v->port->conns, v->request,
		status <= GATEJOB_FAILED ? codes[status] : HTTP_SERVUNAVAIL, text);
	free(v);
}

static void refuse(struct port *port, struct evhttp_request *request, int code, const char *message)
{
	reply_answer(port->conns, request, code, message);
}

static struct visit *new_visit(struct port *port, struct evhttp_request *request, size_t view)
{
	struct visit *v = malloc(sizeof(*v));

	if (v != NULL)
		*v = (struct visit){ .port = port, .request = request, .view = view };
	else
		refuse(port, request, HTTP_SERVUNAVAIL, "the gate is out of memory");
	return v;
}

static void allow_only(struct port *port, struct evhttp_request *request, const char *methods)
{
	char text[64];

	snprintf(text, sizeof(text), "only %s here", methods);
	evhttp_add_header(evhttp_request_get_output_headers(request), "Allow", methods);
	refuse(port, request, METHOD_NOT_ALLOWED, text);
}

static void show(struct port *port, struct evhttp_request *request, size_t view)
{
	enum evhttp_cmd_type method = evhttp_request_get_command(request);

	if (method != EVHTTP_REQ_GET && method != EVHTTP_REQ_HEAD) {
		allow_only(port, request, "GET, HEAD");
		return;
	}
	struct visit *v = new_visit(port, request, view);
	if (v != NULL && !line_snapshot(port->site->line, on_snapshot, v)) {
		free(v);
		refuse(port, request, HTTP_SERVUNAVAIL, "the gate is out of memory");
	}
}

/* It asks for what it shows by itself, so it is there when the master is not. */
static void show_page(struct port *port, struct evhttp_request *request)
{
	enum evhttp_cmd_type method = evhttp_request_get_command(request);
	struct page page;

	if (method != EVHTTP_REQ_GET && method != EVHTTP_REQ_HEAD) {
		allow_only(port, request, "GET, HEAD");
		return;
	}
	if (page_make(&page) != 0) {
		refuse(port, request, HTTP_SERVUNAVAIL, "the gate is out of memory");
		return;
	}
	struct body *body = reply_body(page.html);
	evhttp_add_header(
		evhttp_request_get_output_headers(request), "Content-Security-Policy", page.policy);
	reply_send(port->conns, request, HTTP_OK, "text/html; charset=utf-8", body);
	reply_drop(body);
}

/* workers=N, and nothing else. */
static int parse_workers(struct evhttp_request *request, unsigned *out)
{
	const char *query = evhttp_uri_get_query(evhttp_request_get_evhttp_uri(request));
	struct evkeyvalq fields = { 0 };
	uint64_t number = 0;
	int rc = -1;

	if (query == NULL || evhttp_parse_query_str(query, &fields) != 0)
		return -1;
	const char *text = evhttp_find_header(&fields, "workers");
	if (text != NULL)
		rc = units_number(text, 1, CONF_WORKERS_MAX, &number, NULL);
	*out = (unsigned)number;
	evhttp_clear_headers(&fields);
	return rc;
}

static void command(struct port *port, struct evhttp_request *request, const struct deed *deed,
	const char *pool)
{
	unsigned workers = 0;
	struct visit *v;

	if (!port->commands) {
		refuse(port, request, FORBIDDEN, "commands are for the control socket");
		return;
	}
	if (evhttp_request_get_command(request) != EVHTTP_REQ_POST) {
		allow_only(port, request, "POST");
		return;
	}
	if (deed->verb == GATEJOB_SCALE && parse_workers(request, &workers) != 0) {
		refuse(port, request, HTTP_BADREQUEST, "?workers=N is missing, N from 1 to 10000");
		return;
	}
	v = new_visit(port, request, 0);
	if (v != NULL && !line_command(port->site->line, deed->verb, pool, workers, on_done, v)) {
		free(v);
		refuse(port, request, HTTP_SERVUNAVAIL, "too many commands wait");
	}
}

/* Does the path match? Then pool has what stands for the star. */
static bool matches(const char *pattern, const char *path, char pool[GATEJOB_POOL])
{
	const char *star = strchr(pattern, '*');
	size_t head = star == NULL ? 0 : (size_t)(star - pattern);

	pool[0] = '\0';
	if (star == NULL)
		return strcmp(pattern, path) == 0;
	if (strncmp(pattern, path, head) != 0)
		return false;
	size_t length = strcspn(path + head, "/");
	if (length == 0 || strcmp(path + head + length, star + 1) != 0)
		return false;
	/* No pool has a longer name; a cut one would be another's. */
	snprintf(
		pool, GATEJOB_POOL, "%.*s", (int)length, length < GATEJOB_POOL ? path + head : "?");
	return true;
}

static bool is_permitted(const struct port *port, struct evhttp_request *request)
{
	struct evhttp_connection *evcon = evhttp_request_get_connection(request);

	return !port->commands ||
	       peer_is_allowed(bufferevent_getfd(evhttp_connection_get_bufferevent(evcon)),
		       port->site->job);
}

/* Does the client say that it knows this type? */
static bool is_known(struct evhttp_request *request, const char *type)
{
	const char *accept =
		evhttp_find_header(evhttp_request_get_input_headers(request), "Accept");
	char name[64];

	snprintf(name, sizeof(name), "%.*s", (int)strcspn(type, ";"), type);
	return accept != NULL && strstr(accept, name) != NULL;
}

static void dispatch(struct port *port, struct evhttp_request *request, const char *path)
{
	char pool[GATEJOB_POOL];

	if (strcmp(path, "/") == 0) {
		show_page(port, request);
		return;
	}
	for (size_t i = 0; i < VIEWS; i++)
		if (strcmp(views[i].path, path) == 0 &&
			(!views[i].asked || is_known(request, views[i].type))) {
			show(port, request, i);
			return;
		}
	for (size_t i = 0; i < DEEDS; i++)
		if (matches(deeds[i].path, path, pool)) {
			command(port, request, &deeds[i], pool);
			return;
		}
	refuse(port, request, HTTP_NOTFOUND, "there is nothing here");
}

static void on_request(struct evhttp_request *request, bool surplus, void *arg)
{
	struct port *port = arg;
	const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(request);
	const char *path = uri != NULL ? evhttp_uri_get_path(uri) : NULL;

	if (surplus)
		refuse(port, request, TOO_MANY, "too many connections");
	else if (!is_permitted(port, request))
		refuse(port, request, FORBIDDEN,
			"only root, the user of preforkd and members of control-group");
	else if (path == NULL)
		refuse(port, request, HTTP_BADREQUEST, "this is no path");
	else if (strlen(evhttp_request_get_uri(request)) > PATH_LONGEST)
		refuse(port, request, URI_TOO_LONG, "the URI is too long");
	else
		dispatch(port, request, path);
}

static void on_empty(void *arg)
{
	const struct port *port = arg;
	const struct site *site = port->site;

	if ((site->control.conns == NULL || conns_count(site->control.conns) == 0) &&
		(site->http.conns == NULL || conns_count(site->http.conns) == 0))
		site->gone(site->arg);
}

static int open_port(
	struct site *site, struct event_base *base, struct port *port, int fd, size_t most)
{
	port->site = site;
	port->commands = port == &site->control;
	if (fd < 0)
		return 0;
	port->conns = conns_open(base, fd, most, on_request, on_empty, port);
	return port->conns == NULL ? -1 : 0;
}

struct site *route_open(struct event_base *base, const struct gatejob *job, struct line *line,
	void (*gone)(void *arg), void *arg)
{
	struct site *site = calloc(1, sizeof(*site));

	if (site == NULL)
		return NULL;
	site->job = job;
	site->line = line;
	site->gone = gone;
	site->arg = arg;
	site->vitals = vitals_open(job->master);
	if (site->vitals == NULL ||
		open_port(site, base, &site->control, job->control_fd, CONTROL_MOST) != 0 ||
		open_port(site, base, &site->http, job->http_fd, HTTP_MOST) != 0) {
		free(site); /* and the process ends */
		return NULL;
	}
	return site;
}

void route_close(struct site *site)
{
	if (site->control.conns != NULL)
		conns_close(site->control.conns);
	if (site->http.conns != NULL)
		conns_close(site->http.conns);
}

void route_leave(struct site *site)
{
	route_close(site);
	if (site->control.conns != NULL)
		conns_part(site->control.conns);
	if (site->http.conns != NULL)
		conns_part(site->http.conns);
	on_empty(&site->control);
}
