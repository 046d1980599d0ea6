"""Connections beside a worker that is busy: what arrives on them is for those who are not."""

import contextlib
import os
import re
import resource
import signal
import threading
import time

import pytest

import fcgi
from daemon import make, often, open_files, wait_for
from load import Load, noise
from test_handover import Handover, answers, echo, keep, pid_in, shared_in, stop_worker, unread
from webserver import fetch


def threads(pid):
    return len(os.listdir("/proc/%d/task" % pid))


def sockets(pid):
    """How many it has open."""
    return sum(x.startswith("socket:") for x in open_files(pid).values())


def occupy(daemon, connection, gate, busy=1):
    connection.sock.sendall(fcgi.message(b"busy", keep=True, UNTIL=gate, PID="1"))
    wait_for(lambda: daemon.busy() == busy)


@contextlib.contextmanager
def occupied(daemon, connection):
    """The worker of this connection is busy with a request, which is answered at the end."""
    gate = daemon.gate()
    occupy(daemon, connection, gate)
    yield
    make(gate)
    assert fcgi.body_of(connection.answer()[0]) == b"busy"


@pytest.mark.quick
def test_busy_worker_holds_nobody_up(daemon, apps):
    """Other requests on connections that it keeps are answered before its own, again and again."""
    echo(daemon, apps, workers=4)
    for _ in range(3):
        (busy, *beside), worker, others = keep(daemon, 24)
        assert len(beside) >= 5
        gate = daemon.gate()
        occupy(daemon, busy, gate)
        for n, c in enumerate(beside * 2):
            body = os.urandom((10, 5000, 1 << 20)[n % 3])
            answer = c.request(body, keep=True, PID="1")[0]
            assert fcgi.body_of(answer) == body
            assert pid_in(answer) != worker
        make(gate)
        answer = busy.answer()[0]
        assert fcgi.body_of(answer) == b"busy" and pid_in(answer) == worker
        for c in [busy, *beside, *others]:
            assert answers(c)
            c.close()


def wave(clients, **params):
    """All ask at once. The pids of the workers that answered."""
    for c in clients:
        c.sock.sendall(fcgi.message(b"abc", keep=True, PID="1", **params))
    return [pid_in(c.answer()[0]) for c in clients]


@pytest.mark.quick
def test_short_requests_do_not_move_connections(daemon, apps):
    """To give one away costs as much as such a request, so a worker that finds several does it no
    more than 16 times at once, and once in 10 ms."""
    workers = 2
    echo(daemon, apps, workers=workers)
    begin = time.monotonic()
    clients = [fcgi.Connection(daemon.sock) for _ in range(48)]
    where, moves = wave(clients), 0
    for _ in range(100):
        now = wave(clients)
        moves += sum(a != b for a, b in zip(where, now))
        where = now
    for c in clients:
        c.close()
    assert moves <= workers * (16 + (time.monotonic() - begin) / 0.01)


@pytest.mark.quick
def test_kept_connections_are_shared_out(daemon, apps):
    """One worker has all of them, and short requests: its siblings get some in time."""
    echo(daemon, apps, workers=2)
    first, second = daemon.workers()
    stop_worker(second)
    clients = [fcgi.Connection(daemon.sock) for _ in range(16)]
    assert set(wave(clients)) == {first}
    os.kill(second, signal.SIGCONT)
    wait_for(lambda: wave(clients).count(second) >= 4)
    for c in clients:
        c.close()


@pytest.mark.quick
def test_requests_that_take_a_while_are_shared_out_at_once(daemon, apps):
    """One worker has all connections, and all ask: too short for the porter, too long to wait behind.
    """
    echo(daemon, apps, workers=4)
    first, *siblings = daemon.workers()
    for pid in siblings:
        stop_worker(pid)
    clients = [fcgi.Connection(daemon.sock) for _ in range(80)]
    assert set(wave(clients)) == {first}
    for pid in siblings:
        os.kill(pid, signal.SIGCONT)
    assert wave(clients, SLEEP_MS="3").count(first) <= 40
    for c in clients:
        c.close()


@pytest.mark.quick
def test_rest_of_a_head_that_comes_to_a_busy_worker(daemon, apps):
    """The worker has read a part of a request when it becomes busy; a sibling goes on from there."""
    echo(daemon, apps, workers=2)
    (busy, *beside), worker, others = keep(daemon, 12)
    whole = fcgi.message(b"body", keep=True, FILL="x" * 20000, PID="1")
    for c in beside:
        c.sock.sendall(whole[:9000])
    wait_for(lambda: not any(unread(c.sock) for c in beside))
    with occupied(daemon, busy):
        for c in beside:
            answer = c.answer(whole[9000:])[0]
            assert fcgi.body_of(answer) == b"body" and pid_in(answer) != worker
    for c in [busy, *beside, *others]:
        c.close()


@pytest.mark.root
def test_what_a_busy_worker_has_not_taken(daemon, apps):
    """It alone may have been woken for that: a sibling is, once the request has lasted a while."""
    echo(daemon, apps, workers=2)
    (kept, *beside), worker, others = keep(daemon, 2)
    sibling = next(pid for pid in daemon.workers() if pid != worker)
    gate = daemon.gate()
    with Handover(worker) as handover:
        stop_worker(worker), stop_worker(sibling)
        with fcgi.Connection(daemon.sock) as new:
            new.sock.sendall(fcgi.message())
            os.kill(worker, signal.SIGCONT)
            new.answer()
            stop_worker(worker)
        given = handover.give(fcgi.message(b"given"), times=200)
        # after one from a listener, its turn is the next
        kept.sock.sendall(fcgi.message(b"busy", keep=True, UNTIL=gate))
        before = handover.waiting()
        os.kill(worker, signal.SIGCONT)
        wait_for(lambda: daemon.busy() == 1)
        wait_for(lambda: handover.waiting() > before)
        os.kill(sibling, signal.SIGCONT)
        assert fcgi.body_of(given.answer()[0]) == b"given"
        wait_for(lambda: handover.waiting() == 0)
        make(gate)
        assert fcgi.body_of(kept.answer()[0]) == b"busy"
    for c in [kept, given, *beside, *others]:
        c.close()


@pytest.mark.quick
def test_more_waiting_than_workers(daemon, apps):
    """All are busy: whoever is free first takes what waits, and each request is served once."""
    echo(daemon, apps, workers=3)
    first, _, others = keep(daemon, 20)
    kept = first + others
    gate = daemon.gate()
    for n, c in enumerate(kept):
        c.sock.sendall(fcgi.message(b"%d" % n, keep=True, UNTIL=gate, SHARED="1"))
    wait_for(lambda: daemon.busy() == 3)
    make(gate)
    numbers = []
    for n, c in enumerate(kept):
        answer = c.answer()[0]
        assert fcgi.body_of(answer) == b"%d" % n
        numbers.append(shared_in(answer))
        c.close()
    assert sorted(numbers) == list(range(1, len(kept) + 1))


def test_more_waiting_than_can_be_under_way(daemon, apps):
    """The queue between the workers is full for a while: what did not fit is given away later."""
    echo(daemon, apps, workers=2, max_connections=1000, limit_nofile=4000)
    sibling = daemon.workers()[0]
    stop_worker(sibling)
    (busy, *beside), worker, others = keep(daemon, 400)
    assert worker != sibling and not others
    with occupied(daemon, busy):
        for c in beside:
            c.sock.sendall(fcgi.message(b"abc", keep=True))
        wait_for(lambda: sockets(worker) < 350)
        os.kill(sibling, signal.SIGCONT)
        for c in beside:
            assert fcgi.body_of(c.answer()[0]) == b"abc"
    for c in [busy, *beside]:
        c.close()


@pytest.mark.quick
def test_client_that_goes_while_the_worker_is_busy(daemon, apps):
    """Its descriptor goes at once, and no sibling is troubled."""
    echo(daemon, apps, workers=2)
    (busy, *beside), worker, others = keep(daemon, 12)
    sibling = next(pid for pid in daemon.workers() if pid != worker)
    with occupied(daemon, busy):
        stop_worker(sibling)
        before = sockets(worker)
        for c in beside[1:]:
            c.close()
        wait_for(lambda: sockets(worker) <= before - len(beside[1:]))
        os.kill(sibling, signal.SIGCONT)
        assert answers(beside[0])
    for c in [busy, beside[0], *others]:
        c.close()


def test_busy_worker_behind_nginx(daemon, apps, nginx):
    """keepalive 16 and fastcgi_keep_conn, as in the sample: nobody waits for the one that is busy."""
    echo(daemon, apps, workers=4)
    url = nginx("unix:" + daemon.sock, lambda text: text.replace(
        "fastcgi_param REQUEST_METHOD", "fastcgi_param UNTIL $arg_until if_not_empty;\n"
        "fastcgi_param REQUEST_METHOD", 1))
    got = []

    def request(rnd):
        body = noise(rnd, rnd.choice((10, 5000, 1 << 20)))
        assert fetch(url, body) == body

    with Load(12, request) as load:
        for n in range(1, 4):
            gate = daemon.gate()
            client = threading.Thread(
                target=lambda u=url + "?until=" + gate: got.append(fetch(u, b"busy")))
            client.start()
            before = load.done
            wait_for(lambda: load.done > before + 60 or load.lost)  # pylint: disable=cell-var-from-loop
            assert len(got) == n - 1
            make(gate)
            client.join()
    assert not load.lost and got == [b"busy"] * 3


class Random:
    """A request function: each client keeps its connection; some requests take a while."""

    def __init__(self, address):
        self.address, self.local, self.kept = address, threading.local(), []

    def __call__(self, rnd):
        if not hasattr(self.local, "kept"):
            self.local.kept = fcgi.Connection(self.address)
            self.kept.append(self.local.kept)
        body = noise(rnd, rnd.choice((0, 10, 5000, 5000, 1 << 20)))
        params = {"FORK": "1"} if rnd.random() < 0.02 else {}
        if rnd.random() < 0.6:
            params["SLEEP_MS"] = str(rnd.randrange(41))
        assert fcgi.body_of(self.local.kept.request(body, keep=True, **params)[0]) == body


def test_random_requests_and_reloads(daemon, apps):
    """Some are over before anybody looks, some just then, some long after; nothing is lost."""
    echo(daemon, apps, workers=4)
    request = Random(daemon.sock)
    with Load(16, request) as load:
        wait_for(lambda: load.done > often(800, 20000) or load.lost, 300)
        assert sorted(map(threads, daemon.workers())) == [2] * 4
        load.disturb(daemon.reload_well, times=often(3, 20))
        before = load.done
        wait_for(lambda: load.done > before + 300 or load.lost)
    assert not load.lost
    for c in request.kept:
        c.close()


@pytest.mark.quick
def test_worker_that_needs_no_porter(daemon, apps):
    """One connection at a time, or a pool without siblings: one thread."""
    daemon.write(daemon.pool(workers=2, module=apps + "/module_echo"),
                 daemon.pool("one", listen=daemon.dir + "/one.sock", listen_mode="0666", workers=1))
    daemon.start()
    for _ in range(20):
        fcgi.get(daemon.sock)
    with fcgi.Connection(daemon.sock) as c:
        for _ in range(20):
            assert answers(c)
    kept = [fcgi.Connection(daemon.dir + "/one.sock") for _ in range(5)]
    for c in kept * 3:
        c.request(keep=True)
    assert [threads(pid) for pid in daemon.workers()] == [1] * 3
    for c in kept:
        c.close()


@pytest.mark.root
def test_worker_that_can_have_no_porter(daemon, apps):
    """It says so once, serves as well as it can without one, and tries again after many requests."""
    hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    daemon.write(daemon.pool(workers=2, module=apps + "/module_echo"))
    daemon.start(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NPROC, (0, hard)))
    (busy, *beside), worker, others = keep(daemon, 12)
    with occupied(daemon, busy):
        beside[0].sock.sendall(fcgi.message(b"abc", keep=True))
    assert fcgi.body_of(beside[0].answer()[0]) == b"abc"
    assert threads(worker) == 1
    assert answers(beside[0], MORE_PROCESSES="1")
    for n in range(3000):
        assert answers(beside[n % 2])
        if threads(worker) == 2:
            break
    assert n > 500 and threads(worker) == 2
    assert len(re.findall("%d.*cannot start a thread: " % worker, daemon.read_log())) == 1
    for c in [busy, *beside, *others]:
        c.close()
