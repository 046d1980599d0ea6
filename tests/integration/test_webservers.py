"""Real web servers, each with its sample from conf/, in front of a real preforkd."""

import http.client
import os
import random

import pytest

from daemon import free_port, often, wait_for
from load import Load
from webserver import Apache, Caddy, Haproxy, Lighttpd, Nginx, fetch


@pytest.fixture(params=[Nginx, Apache, Lighttpd, Caddy, Haproxy], ids=lambda kind: kind.__name__)
def server(request, daemon):
    """Starts the daemon with the pool given, and the web server before it."""
    started = []

    def start(**keys):
        port = free_port()
        daemon.write(daemon.pool(listen="127.0.0.1:%d" % port, workers=2, **keys))
        daemon.start()
        started.append(request.param(daemon, "127.0.0.1:%d" % port))
        return started[0]

    yield start
    for s in started:
        s.stop()


def body(size):
    return random.Random(size).randbytes(size)


def test_counts_up(daemon, server):
    """Each page through the server is the next number, whatever the path."""
    s = server(app="counter")
    first = int(fetch(s.url))
    paths = ("", "a", "a/b?c=d", "index.php", "%20")
    assert [int(fetch(s.url + p)) for p in paths] == [first + 1 + i for i in range(len(paths))]


def test_echoes_a_large_body(daemon, server, apps):
    """1 MB there and back, byte for byte, and so a single byte."""
    s = server(module=apps + "/module_echo")
    for size in (1, 1 << 20):
        assert fetch(s.url, body(size)) == body(size)


def test_one_client_connection_many_requests(daemon, server, apps):
    """A browser keeps its connection: requests with and without a body, in turn, stay apart."""
    s = server(module=apps + "/module_echo")
    client = http.client.HTTPConnection("127.0.0.1", s.port, timeout=20)
    for size in (10, 0, 70000, 0, 1):
        client.request("POST" if size else "GET", "/", body=body(size) if size else None)
        answer = client.getresponse()
        assert (answer.status, answer.read()) == (200, body(size) if size else b"")
    client.close()


def test_reload_is_not_seen(daemon, server, apps):
    """The server keeps connections to workers that a reload retires: no request is lost for it, not
    even a POST, which no server sends twice."""
    s = server(module=apps + "/module_echo")

    def request(rnd):
        sent = rnd.randbytes(1000)
        assert fetch(s.url, sent) == sent

    with Load(4, request) as load:
        for _ in range(often(5, 100)):
            done = load.done
            assert daemon.reload() == "ok"
            wait_for(lambda: load.done > done + 20)
    assert not load.lost, load.lost[:5]


def test_no_worker_is_an_error_page(daemon, server):
    """Without preforkd the server says so itself, and serves again when preforkd is back."""
    s = server(app="counter")
    fetch(s.url)
    daemon.end()
    client = http.client.HTTPConnection("127.0.0.1", s.port, timeout=20)
    client.request("GET", "/")
    assert client.getresponse().status in (502, 503)
    client.close()
    assert not os.path.exists(daemon.pidfile)
