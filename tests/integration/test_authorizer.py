"""The role authorizer as real web servers ask for it: it lets pass or refuses, and says who it was.

lighttpd has it in mod_fastcgi, Apache in mod_authnz_fcgi; nginx, Caddy and HAProxy have nothing that
speaks it.
"""

import http.client

import pytest

from daemon import free_port
from webserver import Apache, Lighttpd


def with_lighttpd(text, port):
    """One more backend for the same paths, which is asked first."""
    return text.replace('"/" => ((', '"/" => (( "host" => "127.0.0.1", "port" => %d, '
                        '"mode" => "authorizer", "check-local" => "disable" ), (' % port)


def with_apache(text, port):
    modules = "".join("LoadModule %s_module /usr/lib/apache2/modules/mod_%s.so\n" % (m, m)
                      for m in ("authn_core", "authz_user", "authnz_fcgi"))
    location = """
<Location "/">
	AuthType Basic
	AuthName "restricted"
	AuthnzFcgiCheckAuthnProvider keeper Authoritative On RequireBasicAuth Off \\
		UserExpr "%{reqenv:WHO}"
	Require valid-user
</Location>
"""
    return modules + text.replace("Require all granted", "") + \
        "AuthnzFcgiDefineProvider authn keeper fcgi://127.0.0.1:%d/\n" % port + location


@pytest.fixture(params=[(Lighttpd, with_lighttpd), (Apache, with_apache)], ids=["Lighttpd", "Apache"])
def start(request, daemon, apps):
    """Starts a server whose authorizer is this module."""
    kind, edit = request.param
    started = []

    def start_with(module):
        keeper, pages = free_port(), free_port()
        daemon.write(daemon.pool("keeper", module=apps + "/" + module, workers=1,
                                 listen="127.0.0.1:%d" % keeper),
                     daemon.pool("pages", module=apps + "/module_web", workers=1,
                                 listen="127.0.0.1:%d" % pages))
        daemon.start()
        started.append(kind(daemon, "127.0.0.1:%d" % pages, lambda text: edit(text, keeper)))
        return started[0]
    yield start_with
    for server in started:
        server.stop()


def ask(server, body=None, **headers):
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    client.request("POST" if body else "GET", "/a/page?x=y", body, headers)
    answer = client.getresponse()
    content = answer.read()
    client.close()
    return answer, content


def test_authorizer(daemon, start):
    """With and without a body of the request, which the authorizer does not see."""
    server = start("module_authorizer")
    workers = sorted(daemon.workers())
    for _ in range(5):
        for body in (None, b"b" * 10, b"b" * 100000):
            answer, content = ask(server, body, **{"X-Key": "open"})
            assert (answer.status, content) == (200, body or b"")
            assert answer.headers["X-Who"] == "somebody"
            answer, content = ask(server, body, **{"X-Key": "shut"})
            assert (answer.status, content) == (403, b"no entry\n")
            assert answer.headers["X-Role"] == "2 AUTHORIZER"
            assert answer.headers["X-Read"] == "0 0"
    assert sorted(daemon.workers()) == workers


def test_authorizer_that_is_none(daemon, start):
    """A module without that role: nobody gets in, and the worker is as good as before."""
    server = start("module_web")
    workers = sorted(daemon.workers())
    for body in (None, b"b" * 10, b"b" * 100000):
        answer, content = ask(server, body, **{"X-Key": "open"})
        assert answer.status >= 400 and (body or b"X-Read") not in content, answer.status
    assert sorted(daemon.workers()) == workers
