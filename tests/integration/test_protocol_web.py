"""The protocol as real web servers speak it: bodies, heads, errors and clients that leave.

One preforkd and one server with its sample serve all rows; those that can keep their connections to
the workers, and pass a body on as it comes.
"""

import functools
import http.client
import random
import socket
import threading

import pytest

from daemon import APPS, Daemon, free_port, read, wait_for
from load import Load
from webserver import Apache, Caddy, Haproxy, Lighttpd, Nginx

SIZES = [0, 1, 65535, 65536, 1 << 20]
# What makes a server pass the body on before it has it all; HAProxy does, and must not wait long
# where it does not understand that an answer is over.
EDITS = {
    Nginx: lambda text: text.replace("fastcgi_keep_conn on;", "fastcgi_keep_conn on; "
                                     "fastcgi_request_buffering off;"),
    Lighttpd: lambda text: text + "server.stream-request-body = 2\n",
    Haproxy: lambda text: text.replace("timeout server 60s", "timeout server 3s"),
}
# How a server refuses a chunked upload, for want of a length, that is not all there when it looks.
REFUSES_CHUNKS = {Lighttpd: 411, Haproxy: 400}
ERROR_LOGS = {Nginx: "error.log", Apache: "error.log", Lighttpd: "error.log"}


class Site:
    def __init__(self, daemon, server):
        self.daemon = daemon
        self.server = server
        self.kind = type(server)

    def client(self):
        return http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)

    def ask(self, body=None, method=None, client=None, chunked=False, **headers):
        """The answer and its body."""
        c = client or self.client()
        headers = {k.replace("_", "-"): v for k, v in headers.items()}
        c.request(method or ("GET" if body is None else "POST"), "/", body=body, headers=headers,
                  encode_chunked=chunked)
        answer = c.getresponse()
        content = answer.read()
        if client is None:
            c.close()
        return answer, content

    def check(self):
        """Requests with and without a body are as they should be."""
        for size in (0, 10, 0, 70000):
            answer, content = self.ask(bytes_of(size) or None)
            assert (answer.status, content, answer.headers["X-Read"]) == (
                200, bytes_of(size), str(size))


class Answers:
    """What http.client takes for a socket, and does not close: several answers come from it."""

    def __init__(self, sock):
        self.file = sock.makefile("rb")

    def makefile(self, _mode):
        return self

    def close(self):
        pass

    def __getattr__(self, name):
        return getattr(self.file, name)


@functools.lru_cache
def bytes_of(size):
    return random.Random(size).randbytes(size)


@pytest.fixture(scope="module", params=[Nginx, Apache, Lighttpd, Caddy, Haproxy],
                ids=lambda kind: kind.__name__)
def one_site(request):
    kind = request.param
    with Daemon("web-" + kind.__name__) as d:
        address = "127.0.0.1:%d" % free_port()
        d.write(d.pool(module=APPS + "/module_web", workers=2, listen=address, max_head="64K"))
        d.start()
        server = kind(d, address, EDITS.get(kind))
        try:
            yield Site(d, server)
        finally:
            server.stop()


@pytest.fixture
def site(one_site):
    """After each row the next requests are right, and the workers are the same."""
    before = sorted(one_site.daemon.workers())
    yield one_site
    one_site.check()
    assert sorted(one_site.daemon.workers()) == before


@pytest.mark.parametrize("size", SIZES)
def test_body_up_and_down(site, size):
    answer, content = site.ask(bytes_of(size))
    assert answer.status == 200 and content == bytes_of(size)
    assert answer.headers["X-Read"] == str(size) == (answer.headers["X-Length"] or "0")


@pytest.mark.parametrize("do", ["", "flush"])
@pytest.mark.parametrize("size", SIZES)
def test_body_down(site, size, do):
    """In one record, in many; flushed and not."""
    answer, content = site.ask(X_Size=str(size), X_Do=do)
    assert answer.status == 200 and content == bytes(i % 251 for i in range(size))


def test_body_that_is_not_read(site):
    for size in SIZES:
        answer, content = site.ask(bytes_of(size), X_Do="no-read", X_Size="10")
        assert answer.status == 200 and content == bytes(range(10)), size


def test_one_connection(site):
    """All sizes and methods in turn on one connection of the client."""
    c = site.client()
    for size in [*SIZES, *reversed(SIZES)]:
        for method in ("POST", "PUT", "GET", "HEAD", "DELETE"):
            body = bytes_of(size) if method in ("POST", "PUT") else None
            answer, content = site.ask(body, method, c)
            assert (answer.status, answer.headers["X-Method"]) == (200, method)
            assert content == (body or b""), (method, size)
    c.close()


def test_pipelined_requests(site):
    """Sent in one write, with and without bodies: answered one after the other, in their order."""
    bodies = [bytes_of(size) for size in (1, 0, 70000, 0, 10, 65536)]
    told = b"".join(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
                    for body in bodies)
    with socket.create_connection(("127.0.0.1", site.server.port), timeout=20) as s:
        sender = threading.Thread(target=s.sendall, args=(told,))
        sender.start()
        answers = Answers(s)
        for body in bodies:
            answer = http.client.HTTPResponse(answers)
            answer.begin()
            assert (answer.status, answer.read()) == (200, body)
        sender.join()


@pytest.mark.parametrize("size", [1, 65535, 300000])
def test_chunked_upload(site, size):
    """The body has no length: the whole of it, or a refusal that never gets to a worker."""
    body = bytes_of(size)
    try:
        answer, content = site.ask((body[at:at + 5000] for at in range(0, size, 5000)), "POST",
                                   chunked=True, Transfer_Encoding="chunked")
    except ConnectionError:  # it says no, and closes before it has all
        assert site.kind in REFUSES_CHUNKS
        return
    assert answer.status in (200, REFUSES_CHUNKS.get(site.kind))
    assert content == body or answer.status != 200


@pytest.mark.parametrize("size", [0, 1, 100, 3000])
def test_long_headers(site, size):
    """Up and down; and sixty of them."""
    more = {"X_More_%d" % i: "value %d" % i for i in range(60)}
    answer, _ = site.ask(X_Long="x" * size, X_Do="large-head", **more)
    assert answer.status == 200 and answer.headers["X-Long"] == str(size)
    assert (answer.headers["X-Large"] or "") == "x" * size
    assert [answer.headers["X-Line-%d" % i] for i in range(40)] == [str(i) for i in range(40)]


def test_head(site):
    """No body, whatever the application wrote, and the connection is as good as before."""
    c = site.client()
    for size in SIZES:
        answer, content = site.ask(method="HEAD", client=c, X_Size=str(size))
        if size > 0 and site.kind is Haproxy:  # has no patience with a body to a HEAD
            assert (answer.status, content) == (502, b"")
        else:
            assert (answer.status, content, answer.headers["X-Method"]) == (200, b"", "HEAD")
        assert site.ask(b"body", client=c)[1] == b"body"
    c.close()


@pytest.mark.parametrize("status", ["201 Created", "404 Not Found", "418 Teapot",
                                    "503 Service Unavailable"])
def test_status(site, status):
    for size in (0, 10, 70000):
        answer, content = site.ask(X_Status=status, X_Size=str(size))
        assert answer.status == int(status[:3])
        assert content == bytes(i % 251 for i in range(size))


def test_status_without_a_body(site):
    for status in ("204 No Content", "304 Not Modified"):
        answer, content = site.ask(X_Status=status)
        assert (answer.status, content) == (int(status[:3]), b"")


def test_answer_of_nothing(site):
    """Not a byte on stdout: an error of the server, or an empty page."""
    for _ in range(1 if site.kind is Haproxy else 3):  # which waits for its time-out
        answer, content = site.ask(X_Do="nothing")
        assert answer.status >= 500 or (answer.status == 200 and content == b"")


def test_stderr_is_for_the_log_of_the_server(site):
    answer, content = site.ask(b"body", X_Do="stderr")
    assert (answer.status, content) == (200, b"body")
    if site.kind in ERROR_LOGS:
        path = site.server.dir + "/" + ERROR_LOGS[site.kind]
        wait_for(lambda: "line 9 for the log" in read(path))


def test_application_status_is_no_error(site):
    answer, content = site.ask(b"body", X_Do="app-status")
    assert (answer.status, content) == (200, b"body")


@pytest.mark.parametrize("sent", [0, 1, 100000])
def test_client_leaves_within_its_body(site, sent):
    """The worker hears of it, and is free for the next. HAProxy waits for more than a few bytes."""
    if site.kind is Haproxy:
        sent = 100000
    before = int(site.ask()[0].headers["X-Cut"])
    wait_for(lambda: site.daemon.busy() == 0)
    with socket.create_connection(("127.0.0.1", site.server.port)) as s:
        s.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + bytes_of(sent))
        wait_for(lambda: site.daemon.busy() == 1)
    wait_for(lambda: int(site.ask()[0].headers["X-Cut"]) == before + 1)
    wait_for(lambda: site.daemon.busy() == 0)


def test_client_leaves_before_it_has_its_answer(site):
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", site.server.port)) as s:
            s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Size: 30000000\r\n\r\n")
            assert s.recv(1000)
        wait_for(lambda: site.daemon.busy() == 0)


def test_haproxy_asks_for_values(apps):
    """It would send several requests at once over a connection, and is told that it cannot."""
    def edit(text):
        return EDITS[Haproxy](text).replace("\toption keep-conn\n", "\toption keep-conn\n"
                                            "\toption get-values\n\toption mpxs-conns\n")
    with Daemon("web-values") as d:
        address = "127.0.0.1:%d" % free_port()
        d.write(d.pool(module=apps + "/module_web", workers=2, listen=address))
        d.start()
        server = Haproxy(d, address, edit)
        site = Site(d, server)

        def ask(rnd):
            size = rnd.choice(SIZES[:4])
            answer, content = site.ask(bytes_of(size) or None)
            assert (answer.status, content) == (200, bytes_of(size))
        try:
            with Load(8, ask) as load:
                wait_for(lambda: load.done >= 300 or load.lost)
            assert not load.lost, load.lost[:3]
        finally:
            server.stop()
