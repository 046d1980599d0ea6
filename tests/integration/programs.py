"""The FastCGI programs that promises are tried on, and clients for them that compare every byte."""

import http.client
import re

import fcgi
from daemon import APPS
from load import noise

SLOW = ("ruby", "mapserver", "php-cgi with children")  # seconds until all of a pool are replaced
SIZES = (0, 0, 10, 10, 5000, 5000, 5000, 1 << 20)
CGI = {"QUERY_STRING": "", "REDIRECT_STATUS": "200", "SERVER_NAME": "x", "SERVER_PROTOCOL": "HTTP/1.1",
       "SERVER_PORT": "80"}
WMS = "map=%s/hello.map&SERVICE=WMS&VERSION=1.3.0&REQUEST=GetCapabilities" % APPS
# what runs, parameters, sizes of bodies (none: GET, always the same answer), more keys of the pool
PROGRAMS = {
    "libfcgi": (APPS + "/plain", {}, SIZES, {}),
    "perl": ("/usr/bin/perl %s/perl_fcgi.pl" % APPS, {}, SIZES, {}),
    "php-cgi": ("/usr/bin/php-cgi", {**CGI, "SCRIPT_FILENAME": APPS + "/hello.php"}, SIZES, {}),
    "fcgiwrap": ("/usr/sbin/fcgiwrap", {**CGI, "SCRIPT_FILENAME": APPS + "/hello.cgi"}, (0, 10, 5000), {}),
    "ruby": ("/usr/bin/ruby %s/ruby_fcgi.rb" % APPS, {}, SIZES, {}),
    "events": (APPS + "/events", {}, SIZES, {}),
    "threads": (APPS + "/threads", {}, SIZES, {}),
    "mapserver": ("/usr/lib/cgi-bin/mapserv", {**CGI, "QUERY_STRING": WMS}, None,
                  {"env_MAPSERVER_CONFIG_FILE": APPS + "/mapserver.conf"}),
    "processes of a thread": (APPS + "/threads", {}, SIZES, {"env_THREAD_FORKS": 1}),
    "php-cgi with children": ("/usr/bin/php-cgi", {**CGI, "SCRIPT_FILENAME": APPS + "/hello.php"}, SIZES,
                              {"env_PHP_FCGI_CHILDREN": 3}),
    "out of its group": ("/usr/bin/perl %s/perl_fcgi.pl" % APPS, {}, SIZES, {"env_LEAVE_GROUP": 1}),
}

# keys of a pool that answers with its body: a program, and a module inside preforkd
KINDS = {"command": {"command": APPS + "/plain"}, "module": {"module": APPS + "/module_echo"}}


def pool_of(daemon, name, **keys):
    """The pool of a program; a listener that many take connections from, with a queue."""
    return daemon.pool(command=PROGRAMS[name][0], **PROGRAMS[name][3], **keys)


def compare(body, answer):
    """The body comes back whole, behind what the program puts before it."""
    if not answer.endswith(body) or len(answer) > len(body) + 20:
        raise fcgi.Lost("%d bytes became %d" % (len(body), len(answer)))


def serve(name, address, delay=(0, 20), sizes=None):
    """A request function: random bodies and delays (ms), every byte compared."""
    _, params, usual, _ = PROGRAMS[name]
    sizes = sizes or usual
    expected = None if sizes else fcgi.body_of(fcgi.get(address, **params))

    def request(rnd):
        body = noise(rnd, rnd.choice(sizes)) if sizes else b""
        more = {"SLEEP_MS": str(rnd.randint(*delay))} if sizes else {"REQUEST_METHOD": "GET"}
        answer = fcgi.body_of(fcgi.get(address, body, **{**params, **more}))
        if sizes:
            compare(body, answer)
        elif answer != expected:
            raise fcgi.Lost("another answer: %r" % answer[:80])
    return request


def browse(name, port):
    """The same through a web server; it hands on the delay."""
    _, params, sizes, _ = PROGRAMS[name]
    path = "/?" + params.get("QUERY_STRING", "")

    def fetch(method, body, headers):
        c = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            c.request(method, path, body, headers)
            answer = c.getresponse()
            text = answer.read()
        finally:
            c.close()
        if answer.status != 200:
            raise fcgi.Lost("status %d" % answer.status)
        return text
    expected = None if sizes else fetch("GET", None, {})

    def request(rnd):
        if sizes is None:
            assert fetch("GET", None, {}) == expected
            return
        body = noise(rnd, rnd.choice(sizes))
        compare(body, fetch("POST", body, {"X-Sleep-Ms": str(rnd.randint(0, 20))}))
    return request


def for_program(name):
    """nginx for a pool with "command": connections are not kept; nothing is tried a second time."""
    def edit(text):
        more = "".join('fastcgi_param %s "%s";\n' % (k, v) for k, v in PROGRAMS[name][1].items()
                       if not re.search(r"^\s*fastcgi_param %s " % k, text, re.M))
        more += "fastcgi_param SLEEP_MS $http_x_sleep_ms;\nfastcgi_next_upstream off;\n"
        text = re.sub(r"keepalive 16;|fastcgi_keep_conn on;|fastcgi_next_upstream error timeout;", "", text)
        return text.replace("fastcgi_pass preforkd;", "fastcgi_pass preforkd;\n" + more)
    return edit
