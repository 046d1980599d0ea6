"""A thousand clients that idle, dawdle or send garbage: the gate stays small, and serving untouched."""

import os
import random
import re
import resource
import select
import signal
import socket
import time

import pytest

import fcgi
from daemon import children, free_port, often, read, status, title, wait_for
from gate import Gate, Unix
from load import Load

MANY = 1000
HTTP_MOST, CONTROL_MOST, SURPLUS = 128, 64, 16  # of src/gate


@pytest.fixture(autouse=True)
def descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Doors:
    """A daemon with both sockets, and clients of either."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.port = free_port()
        self.control, self.http = Gate(daemon), Gate(daemon, self.port)
        daemon.write(daemon.pool(workers=2), control=self.control.path, http="127.0.0.1:%d" % self.port)
        daemon.start()
        for gate in self.control, self.http:
            assert gate.get("/healthz").code == 200

    def connect(self, door, small=False):
        """A connection; of one that is full, None."""
        s = socket.socket(socket.AF_UNIX if door == "control" else socket.AF_INET)
        s.settimeout(20)
        if small:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        try:
            s.connect(self.control.path if door == "control" else ("127.0.0.1", self.port))
        except OSError:
            s.close()
            return None
        return s

    def pid(self):
        return next(p for p in children(self.daemon.pid) if title(p).startswith("preforkd: gate"))

    def size(self):
        """What the gate has of its own, KB: its writable private mappings, which the kernel does not
        take back for a while as it does with resident pages."""
        return int(status(self.pid(), "VmData").split()[0])

    def ticks(self):
        """CPU time of the gate, in hundredths of a second."""
        fields = read("/proc/%d/stat" % self.pid()).rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    def rests(self):
        before = self.ticks()
        time.sleep(0.1)
        return self.ticks() == before

    def descriptors(self):
        return len(os.listdir("/proc/%d/fd" % self.pid()))


@pytest.fixture(params=["control", "http"])
def door(request):
    return request.param


@pytest.fixture
def doors(daemon):
    return Doors(daemon)


def most(door):
    return CONTROL_MOST if door == "control" else HTTP_MOST


def closed(s):
    """Has the other side closed it?"""
    s.setblocking(False)
    try:
        return s.recv(65536) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def still_open(clients, count):
    """Closes those that the other side has closed, once there are no more than that left."""
    left = [s for s in clients if s is not None and not closed(s)]
    if len(left) > count:
        return None
    for s in set(clients) - set(left) - {None}:
        s.close()
    return left


def rate(doors, seconds):
    """Requests in a second, of two clients; and the gate has no part in it."""
    worked = doors.ticks()
    with Load(2, lambda rnd: fcgi.get(doors.daemon.sock)) as load:
        began = time.monotonic()
        wait_for(lambda: time.monotonic() - began > seconds)
    assert not load.lost and doors.ticks() - worked <= 2
    return load.done / (time.monotonic() - began)


def test_idle_clients(doors, door):
    """Those that came first have to go; who asks is answered, on both sockets; serving is untouched."""
    before = rate(doors, 0.5)
    clients = [doors.connect(door) for _ in range(MANY)]
    assert doors.descriptors() <= most(door) + SURPLUS + 20
    for gate in doors.control, doors.http:
        wait_for(lambda gate=gate: asks_well(gate), 1)
    clients = wait_for(lambda: still_open(clients, most(door)))
    during = rate(doors, 0.5)
    print("requests/s without and with %d idle clients: %.0f, %.0f" % (MANY, before, during))
    assert during > 0.3 * before
    for s in clients:
        s.close()
    wait_for(lambda: doors.descriptors() < 20)


def test_memory_does_not_grow(doors, door):
    """What is free within the heap comes and goes, below some 2 MB; what clients leave behind adds up.
    It is seen if that is as little as the gate's own note of a connection."""
    for _ in range(often(60, 600)):
        clients = [doors.connect(door) for _ in range(MANY)]
        assert doors.descriptors() <= most(door) + SURPLUS + 20
        wait_for(lambda: asks_well(doors.http) and asks_well(doors.control))
        for s in filter(None, clients):
            s.close()
        wait_for(lambda: doors.descriptors() < 20)
    assert doors.size() < 4096


def test_slow_clients(doors, door):
    """Byte by byte, never done: they last as long as nobody else wants their place."""
    clients = [doors.connect(door) for _ in range(most(door))]
    for c in b"GET /status HTTP/1.1\r\nHost: ":
        for s in clients:
            try:
                s.sendall(bytes([c]))
            except OSError:
                pass
        for gate in doors.control, doors.http:
            wait_for(lambda gate=gate: asks_well(gate), 2)
    assert doors.descriptors() <= most(door) + SURPLUS + 20
    for s in clients:
        s.close()


GARBAGE = [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"\x00" * 5000, b"GET\r\n\r\n", b"\r\n" * 4000,
           b"GET /status HTTP/9.9\r\n\r\n", b"POST /reload HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
           b"POST /x HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
           b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
           b"GET /status HTTP/1.1\r\nno colon here\r\n\r\n", b"\xff\xfe\xfd GET / HTTP/1.1\r\n\r\n",
           b"GET http://[::1 HTTP/1.1\r\n\r\n", b"GET /%00%ff%zz HTTP/1.1\r\nHost: \x00\r\n\r\n"]


def test_garbage(doors, door):
    """Answered with a 4xx, or closed; never with a crash or more memory."""
    rnd, pid = random.Random(3), doors.pid()

    def throw(count):
        for i in range(count):
            data = GARBAGE[i] if i < len(GARBAGE) else rnd.choice(
                [rnd.choice(GARBAGE), rnd.randbytes(rnd.randint(1, 20000))])
            s = doors.connect(door)
            s.settimeout(0.02)  # what is not finished is never answered
            try:
                s.sendall(data)
                answer = s.recv(65536)
                assert answer == b"" or re.match(rb"HTTP/1\.[01] (4\d\d|501) ", answer), answer[:100]
            except (ConnectionError, TimeoutError):
                pass
            s.close()
    throw(100)
    small = doors.size()
    throw(often(400, 20 * MANY))
    assert doors.pid() == pid and doors.size() - small < 1024
    assert doors.control.get("/healthz").code == doors.http.get("/healthz").code == 200


@pytest.mark.parametrize("request_,codes", [
    (b"GET /%s HTTP/1.1\r\n\r\n" % (b"x" * 2000), (414,)),
    (b"GET /%s HTTP/1.1\r\n\r\n" % (b"x" * 20000), (400, 413)),
    (b"GET /status HTTP/1.1\r\nX: %s\r\n\r\n" % (b"x" * 20000), (400, 413)),
    (b"GET /status HTTP/1.1\r\n%s\r\n" % (b"X: yyyyyyyy\r\n" * 2000), (400, 413)),
    (b"POST /reload HTTP/1.1\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5000, (413,)),
    (b"POST /reload HTTP/1.1\r\nContent-Length: 1000000000\r\n\r\n", (413,)),
    (b"GET /pools//reload HTTP/1.1\r\n\r\n", (404,)),
    (b"GET /pools/%s/reload HTTP/1.1\r\n\r\n" % (b"x" * 500), (405,)),
], ids=["URI", "first line", "header", "headers", "body", "body to come", "no pool", "long pool"])
def test_limits(doors, request_, codes):
    s = doors.connect("control")
    try:
        s.sendall(request_)
    except BrokenPipeError:  # it has been answered already
        pass
    answer = s.recv(65536)
    assert int(answer.split()[1]) in codes, answer[:200]
    s.close()


def stuck(doors, door):
    """A client that asks again and again, and reads nothing: its answers fill every buffer. The kernel
    has two megabytes for one of TCP, and the page fills that sooner than the status."""
    s = doors.connect(door, small=True)
    s.setblocking(False)
    path = b"/status" if door == "control" else b"/"
    asking = b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path * 2000
    try:
        s.send(asking)
    except (BlockingIOError, BrokenPipeError):  # no more fits; or it had to go already
        pass
    return s


def test_clients_that_do_not_read(doors, door):
    """Neither the memory nor the places are theirs for long."""
    clients = []
    for _ in range(often(2, 50)):
        clients += [stuck(doors, door) for _ in range(most(door))]
        wait_for(doors.rests)  # all of them are stuck
        for gate in doors.control, doors.http:
            wait_for(lambda gate=gate: asks_well(gate), 20, "a place")
        assert doors.size() < 64 * 1024 and doors.descriptors() <= most(door) + SURPLUS + 20
    for s in clients:
        s.close()


FLOODS = [(b"", b"GET /status HTTP/1.1\r\nHost: a\r\n\r\n" * 1000),
          (b"POST /healthz HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"1" * 65536)]


@pytest.mark.parametrize("begin, more", FLOODS, ids=["pipelined", "chunk"])
def test_clients_that_send_without_end(doors, begin, more):
    """What cannot be worked off waits with them, and not in the gate."""
    before, sent = doors.size(), 0
    with doors.connect("http") as s:
        s.sendall(begin)
        s.settimeout(0.7)
        try:
            while sent < 32 << 20:
                sent += s.send(more)
        except OSError:  # no room, or it has been closed
            pass
        assert doors.size() - before < 4096, sent
    assert asks_well(doors.http)


def asks_well(gate):
    try:
        return gate.get("/healthz").code == 200
    except OSError:
        return False


def test_too_many(doors, door):
    """All have asked, and the master sleeps: the next hears 429, and the first 503 in the end."""
    asking = b"GET /status HTTP/1.1\r\nConnection: close\r\n\r\n"
    os.kill(doors.daemon.pid, signal.SIGSTOP)
    try:
        wait_for(lambda: doors.control.get("/status").code == 503)  # what was fresh is so no longer
        clients = []
        for _ in range(most(door) + SURPLUS):
            clients.append(doors.connect(door))
            clients[-1].sendall(asking)
        assert fcgi.number(doors.daemon.sock) > 0
        codes = [int(s.recv(100)[9:12]) for s in clients]
        assert codes == [503] * most(door) + [429] * SURPLUS, codes
    finally:
        os.kill(doors.daemon.pid, signal.SIGCONT)
    for s in clients:
        s.close()
    wait_for(lambda: asks_well(doors.http) and asks_well(doors.control))


def test_client_that_goes_away_while_it_waits(doors):
    """Its command is carried out; the answer has nobody to go to."""
    for _ in range(20):
        s = doors.connect("control")
        s.sendall(b"POST /reload HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
        s.close()
    wait_for(lambda: doors.control.status()["reloads"]["done"] > 0 and
             doors.control.status()["reloads"]["last"]["result"] == "done")
    assert doors.control.get("/healthz").code == 200 and doors.control.status()["gate"]["restarts"] == 0


def test_pipelined_requests(doors):
    s = doors.connect("http")
    s.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
    data = b""
    while data.count(b"\r\n\r\nok\n") < 50:
        assert select.select([s], [], [], 20)[0]
        got = s.recv(65536)
        assert got
        data += got
    s.close()


def test_kept_connection(doors):
    """A scraper may keep its connection."""
    c = Unix(doors.control.path)
    for path in ("/status", "/metrics", "/healthz") * 5:
        c.request("GET", path)
        answer = c.getresponse()
        assert answer.status == 200 and answer.read()
    c.close()
