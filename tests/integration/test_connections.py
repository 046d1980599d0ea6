"""How many connections a worker has, and how long."""

import itertools
import os
import signal
import subprocess
import time

import pytest

import fcgi
from daemon import IS_ROOT, make, open_files, status, wait_for
from test_handover import echo, stop_worker


def test_half_of_the_descriptors_is_for_connections(daemon):
    """Whatever max-connections says."""
    daemon.write(daemon.pool(workers=1, limit_nofile=40))
    daemon.start()
    silent = [fcgi.connect(daemon.sock) for _ in range(40)]
    wait_for(lambda: sum(fcgi.is_closed(s) for s in silent) == 20)
    assert fcgi.number(daemon.sock) == 1
    wait_for(lambda: sum(fcgi.is_closed(s) for s in silent) == 21)
    for s in silent:
        s.close()


@pytest.mark.quick
def test_too_many_connections(daemon):
    """The oldest without a request goes; those that serve requests do not."""
    daemon.write(daemon.pool(workers=1, max_connections=5))
    daemon.start()
    with fcgi.Connection(daemon.sock) as kept:
        assert kept.request(keep=True)[0].endswith(b"\n1\n")
        silent = [fcgi.connect(daemon.sock) for _ in range(20)]
        wait_for(lambda: sum(fcgi.is_closed(s) for s in silent) == 16)
        assert not any(fcgi.is_closed(s) for s in silent[16:])
        assert kept.request(keep=True)[0].endswith(b"\n2\n")
        for s in silent:
            s.close()


def answered(client, count):
    """How many of so many answers come before it is closed."""
    for n in range(count):
        try:
            client.answer()
        except fcgi.Lost:
            return n
    return count


@pytest.mark.quick
def test_too_many_connections_that_have_requests(daemon):
    """All of them always: the limit is one all the same, and who waits is answered."""
    daemon.write(daemon.pool(workers=1, max_connections=5))
    daemon.start()
    worker, = daemon.workers()
    stop_worker(worker)
    clients = [fcgi.Connection(daemon.sock) for _ in range(30)]
    for c in clients:
        c.sock.sendall(fcgi.message(keep=True) * 200)
    os.kill(worker, signal.SIGCONT)
    counts = [answered(c, 200) for c in clients]
    assert counts.count(200) == 5 and min(counts) > 0, counts
    for c in clients:
        c.close()


@pytest.mark.quick
def test_no_descriptor_is_left(daemon):
    """Whoever comes then is served in the place of one that has no request."""
    daemon.write(daemon.pool(workers=1))
    daemon.start()
    kept = [fcgi.Connection(daemon.sock) for _ in range(5)]
    for c in kept:
        c.request(keep=True)
    worker, = daemon.workers()
    used = open_files(worker)
    least = next(n for n in itertools.count() if n not in used)
    uid, gid = (int(status(worker, key).split()[0]) for key in ("Uid", "Gid"))
    subprocess.run(["prlimit", "--pid=%d" % worker, "--nofile=%d" % least], check=True,
                   user=uid, group=gid, extra_groups=[] if IS_ROOT else None)
    assert fcgi.number(daemon.sock) == 6
    assert [fcgi.is_closed(c.sock) for c in kept] == [True] + [False] * 4
    for c in kept:
        c.close()


@pytest.mark.quick
def test_keepalive_timeout(daemon):
    daemon.write(daemon.pool(workers=1, keepalive_timeout="300ms"))
    daemon.start()
    with fcgi.Connection(daemon.sock) as c:
        for n in range(1, 4):
            assert c.request(keep=True)[0].endswith(b"\n%d\n" % n)
        began = time.monotonic()
        wait_for(lambda: fcgi.is_closed(c.sock))
        assert 0.2 < time.monotonic() - began < 10


@pytest.mark.quick
def test_keepalive_max(daemon):
    """Closed behind the answer to the last one, and no sibling counts anew."""
    daemon.write(daemon.pool(workers=1, keepalive_max=3))
    daemon.start()
    with fcgi.Connection(daemon.sock) as c:
        for n in range(1, 3):
            assert c.request(keep=True)[0].endswith(b"\n%d\n" % n)
        daemon.reload_well()
        assert c.request(keep=True)[0].endswith(b"\n3\n")
        wait_for(lambda: fcgi.is_closed(c.sock))


def test_keepalive_max_and_pipelined_requests(daemon):
    """What was sent before the end is answered, however many there are."""
    daemon.write(daemon.pool(workers=1, keepalive_max=3))
    daemon.start()
    with fcgi.Connection(daemon.sock) as c:
        c.sock.sendall(fcgi.message(keep=True) * 7)
        for n in range(1, 8):
            assert c.answer()[0].endswith(b"\n%d\n" % n)
        wait_for(lambda: fcgi.is_closed(c.sock))


def test_keepalive_max_and_request_that_came_meanwhile(daemon, apps):
    """The last one is still served when the next arrives: that is answered, too."""
    echo(daemon, apps, workers=1, keepalive_max=1)
    gate = daemon.gate()
    with fcgi.Connection(daemon.sock) as c:
        c.sock.sendall(fcgi.message(b"last", keep=True, UNTIL=gate))
        wait_for(lambda: daemon.busy() == 1)
        c.sock.sendall(fcgi.message(b"next", keep=True))
        make(gate)
        assert [fcgi.body_of(c.answer()[0]) for _ in range(2)] == [b"last", b"next"]
        wait_for(lambda: fcgi.is_closed(c.sock))
