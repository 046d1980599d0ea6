"""Requests that take too long are logged, and ended; nobody else notices."""

import os
import re
import signal
import threading

import pytest

import fcgi
from daemon import APPS, free_port, often, open_files, title, wait_for
from load import Load
from programs import KINDS, serve


@pytest.mark.parametrize("kind", KINDS)
def test_worker_in_one_request_for_too_long_is_killed(daemon, kind):
    daemon.write(daemon.pool(**KINDS[kind], workers=2, request_timeout="400ms"))
    daemon.start()
    before = set(daemon.workers())
    with fcgi.Connection(daemon.sock) as stuck:
        stuck.sock.sendall(fcgi.message(SLEEP_MS="60000", SCRIPT_NAME="/stuck\x1b[1m"))
        line = daemon.wait_log(r"worker (\d+) is killed and replaced: .* has run for .*"
                               r"longer than request-timeout")
        assert int(line.group(1)) in before
        for _ in range(10):
            assert fcgi.get(daemon.sock, b"x").endswith(b"x")
    wait_for(lambda: int(line.group(1)) not in daemon.workers())
    daemon.wait_workers(2)
    assert len(before & set(daemon.workers())) == 1
    assert "\x1b" not in daemon.read_log()
    assert "back-off" not in daemon.read_log()


@pytest.mark.parametrize("kind", KINDS)
def test_short_requests_are_never_killed(daemon, kind):
    """Many short ones, one after the other, are not one long one."""
    daemon.write(daemon.pool(**KINDS[kind], workers=1, request_timeout="300ms"))
    daemon.start()
    worker = daemon.workers()
    for _ in range(60):
        assert fcgi.get(daemon.sock, b"x", SLEEP_MS="10").endswith(b"x")
    assert daemon.workers() == worker


@pytest.mark.parametrize("kind", KINDS)
def test_slow_request_is_logged_once(daemon, kind):
    daemon.write(daemon.pool(**KINDS[kind], workers=1, slow_request="100ms"))
    daemon.start()
    for n in range(1, 4):
        with fcgi.Connection(daemon.sock) as c:
            c.sock.sendall(fcgi.message(b"x", SLEEP_MS="1000"))
            wait_for(lambda: len(re.findall("is slow: .* has run for", daemon.read_log())) == n)
            assert c.answer()[0].endswith(b"x")  # closed now: a program waits for that
        assert fcgi.get(daemon.sock, b"y").endswith(b"y")
    assert len(re.findall("is slow", daemon.read_log())) == 3


def test_stopped_worker_is_killed_too(daemon):
    """It cannot answer the signal that asks it to."""
    daemon.write(daemon.pool(module=APPS + "/module_echo", workers=1, request_timeout="300ms"))
    daemon.start()
    worker = daemon.workers()[0]
    thread = threading.Thread(target=lambda: _expect_loss(daemon.sock))
    thread.start()
    wait_for(daemon.busy)
    os.kill(worker, signal.SIGSTOP)
    wait_for(lambda: worker not in daemon.workers())
    thread.join()
    assert fcgi.get(daemon.sock, b"x").endswith(b"x")


def _expect_loss(where):
    with pytest.raises(fcgi.Lost):
        fcgi.get(where, b"x", SLEEP_MS="60000")


def test_request_of_a_retiring_worker_is_limited_too(daemon):
    daemon.write(daemon.pool(command=APPS + "/plain", workers=1, request_timeout="600ms"))
    daemon.start()
    worker = daemon.workers()[0]
    with fcgi.Connection(daemon.sock) as stuck:
        stuck.sock.sendall(fcgi.message(SLEEP_MS="60000"))
        wait_for(lambda: len(_sockets(worker)) == 2)
        daemon.reload_well()
        daemon.wait_log("worker %d is killed and replaced" % worker)
        wait_for(lambda: worker not in daemon.workers())


def _sockets(pid):
    return [x for x in open_files(pid).values() if x.startswith("socket:")]


def test_idle_kept_connection_is_no_request(daemon):
    """A program that waits for its client is not in a request, however long it waits."""
    daemon.write(daemon.pool(command=APPS + "/plain", workers=1, request_timeout="300ms"))
    daemon.start()
    worker = daemon.workers()
    with fcgi.Connection(daemon.sock) as c:
        assert c.request(b"x", keep=True)[0].endswith(b"x")
        with pytest.raises(AssertionError):
            wait_for(lambda: daemon.workers() != worker, 1.5)
        assert c.request(b"y", keep=True)[0].endswith(b"y")


def test_worker_that_came_while_the_pool_rested_is_limited_too(daemon):
    """Nobody has looked at it before its first request."""
    daemon.write(daemon.pool(module=APPS + "/module_echo", workers=1, request_timeout="300ms"))
    daemon.start()
    first = daemon.workers()
    os.kill(first[0], signal.SIGKILL)
    wait_for(lambda: daemon.workers() and daemon.workers() != first and
             title(daemon.workers()[0]).endswith(" idle"))
    with fcgi.Connection(daemon.sock) as stuck:
        stuck.sock.sendall(fcgi.message(SLEEP_MS="60000"))
        daemon.wait_log("longer than request-timeout")


@pytest.mark.parametrize("family", ("unix", "tcp"))
def test_looking_harms_no_event_loop(daemon, family):
    """It closes its connections while it is looked at: no event may come for a closed one."""
    address = daemon.sock if family == "unix" else "127.0.0.1:%d" % free_port()
    daemon.write(daemon.pool(command=APPS + "/events", listen=address, listen_mode="0666", workers=6,
                             slow_request="80ms"))
    daemon.start()
    with Load(16, serve("events", address, (0, 0), (1,))) as load:
        wait_for(lambda: load.done > often(6000, 200000), 120)
    assert not load.lost, load.lost[:3]
    assert "SIGSEGV" not in daemon.read_log()


def test_request_that_breaks_the_silence_is_ended(daemon):
    """An idle program takes it before the master wakes; each time it is found all the same."""
    daemon.write(daemon.pool(command=APPS + "/plain", workers=2, request_timeout="1s"))
    daemon.start()
    for n in range(1, often(3, 20)):
        daemon.wait_rest(most=1)
        with fcgi.Connection(daemon.sock) as stuck:
            stuck.sock.sendall(fcgi.message(SLEEP_MS="60000"))
            wait_for(lambda n=n: daemon.read_log().count("longer than request-timeout") == n)
        daemon.wait_workers(2)
