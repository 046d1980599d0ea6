"""Connections that go from worker to worker: none is lost, whatever a worker of the pool sends."""

import array
import collections
import fcntl
import os
import re
import signal
import socket
import struct
import time

import pytest

import fcgi
from daemon import make, sockets, status, wait_for
from records import GET_VALUES, read_records, record, stdout

SIOCOUTQ = 0x5411


def unread(sock):
    """Bytes that the other end of a unix socket has not taken yet, with what the kernel needs for them."""
    return struct.unpack("i", fcntl.ioctl(sock, SIOCOUTQ, bytes(4)))[0]


class Handover:
    """The sending end of what the workers of a pool have between them."""

    def __init__(self, worker):
        found = sockets(worker)
        ours = [s for s in found.values() if s.type == socket.SOCK_SEQPACKET]
        self.sock = ours[0]  # the receiving end has the next descriptor
        self.sock.setblocking(False)
        for s in found.values():
            if s is not self.sock:
                s.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def give(self, data=b"", times=0, kept=True, more=(), left=0):
        """A new connection, as if a sibling had read this from it; returns the client's end."""
        client, server = socket.socketpair()
        fds = array.array("i", [server.fileno(), *more])
        try:
            self.sock.sendmsg([struct.pack("=II", int(kept), times | left << 8) + data],
                              [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
        except BlockingIOError:
            client.close()
            return None
        finally:
            server.close()
        client.settimeout(20)
        return Client(client)

    def nudge(self):
        """What wakes an idle sibling, and nothing else."""
        self.sock.send(bytes(8))

    def waiting(self):
        return unread(self.sock)


class Client(fcgi.Connection):
    """A client whose connection is there."""

    def __init__(self, sock):  # pylint: disable=super-init-not-called
        self.timeout, self.sock, self.data, self.stderr = 20.0, sock, b"", b""


def pid_in(answer):
    return int(re.search(rb"X-Pid: (\d+)", answer).group(1))


def shared_in(answer):
    return int(re.search(rb"X-Shared: (\d+)", answer).group(1))


def echo(daemon, apps, **keys):
    daemon.write(daemon.pool(module=apps + "/module_echo", **keys))
    return daemon.start()


def answers(client, text=b"abc", **params):
    return fcgi.body_of(client.request(text, keep=True, **params)[0]) == text


def keep(daemon, count):
    """Connections that had a request: those of the worker that has most of them, and its pid."""
    owned = collections.defaultdict(list)
    for _ in range(count):
        c = fcgi.Connection(daemon.sock)
        owned[pid_in(c.request(keep=True, PID="1")[0])].append(c)
    worker = max(owned, key=lambda pid: len(owned[pid]))
    return owned.pop(worker), worker, [c for others in owned.values() for c in others]


def stop_worker(pid):
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: status(pid, "State").startswith("T"))


def wait_told_to_leave(pid):
    """SIGTERM has come to a worker, which is busy."""
    wait_for(lambda: int(status(pid, "ShdPnd"), 16) & 1 << signal.SIGTERM - 1)


def test_many_kept_connections_survive_a_reload(daemon, apps):
    """More than the queue between the workers holds at once."""
    echo(daemon, apps, workers=1, max_connections=1000, limit_nofile=4000)
    kept = [fcgi.Connection(daemon.sock) for _ in range(450)]
    for c in kept:
        assert answers(c)
    for _ in range(2):
        before = daemon.workers()
        daemon.reload_well()
        wait_for(lambda: not set(before) & set(daemon.workers()))
        for c in kept:
            assert answers(c)
    for c in kept:
        c.close()


def test_worker_waits_for_siblings_that_are_busy(daemon, apps):
    """It leaves, and has more connections than the queue holds: they take them in time."""
    echo(daemon, apps, workers=1, max_connections=1000, limit_nofile=4000)
    old, = daemon.workers()
    gate = daemon.gate()
    busy, *kept = [fcgi.Connection(daemon.sock) for _ in range(450)]
    for c in kept:
        assert answers(c)
    busy.sock.sendall(fcgi.message(b"busy", UNTIL=gate))
    wait_for(lambda: daemon.busy() == 1)
    daemon.reload_well()
    new, = set(daemon.workers()) - {old}
    stop_worker(new)
    make(gate)
    assert fcgi.body_of(busy.answer()[0]) == b"busy"
    time.sleep(2.5)  # longer than it waits for those that nobody else can have
    os.kill(new, signal.SIGCONT)
    wait_for(lambda: daemon.workers() == [new])
    for c in kept:
        assert answers(c)
    for c in (busy, *kept):
        c.close()


@pytest.mark.quick
def test_word_to_leave_has_no_queue_before_it(daemon, apps):
    """Many connections have a request: siblings get them at once, not after some turns."""
    echo(daemon, apps, workers=2)
    mine, old, others = keep(daemon, 200)
    stop_worker(old)
    for c in mine:
        c.sock.sendall(fcgi.message(keep=True, PID="1"))
    os.kill(old, signal.SIGTERM)
    os.kill(old, signal.SIGCONT)
    assert sum(pid_in(c.answer()[0]) == old for c in mine) <= 1
    for c in mine + others:
        c.close()


@pytest.mark.root
def test_full_queue_survives_a_reload(daemon, apps):
    """What was given away and not taken yet is for the next generation."""
    echo(daemon, apps, workers=1, max_connections=1000, limit_nofile=4000)
    worker = daemon.workers()[0]
    with Handover(worker) as handover:
        stop_worker(worker)
        kept = []
        while (client := handover.give()) is not None:
            kept.append(client)
        daemon.reload_well()
        wait_for(lambda: worker not in daemon.workers())
    for client in kept:
        assert answers(client)
        client.close()


@pytest.mark.root
def test_what_only_wakes_costs_no_turn(daemon, apps):
    """The connection behind it in the queue is served among the first, others always have requests."""
    echo(daemon, apps, workers=1)
    worker, = daemon.workers()
    with Handover(worker) as handover:
        stop_worker(worker)
        for _ in range(20):
            handover.nudge()
        given = handover.give(fcgi.message(SHARED="1"))
        others = [Client(fcgi.connect(daemon.sock)) for _ in range(20)]
        for c in others:
            c.sock.sendall(fcgi.message(SHARED="1", SLEEP_MS="3"))  # longer than luck is tried
        os.kill(worker, signal.SIGCONT)
        first, *rest = [shared_in(c.answer()[0]) for c in (given, *others)]
    assert first < sorted(rest)[3], (first, rest)
    for c in (given, *others):
        c.close()


@pytest.mark.root
def test_last_worker_takes_all_that_was_given_away(daemon, apps):
    """Behind what was only to wake somebody as well."""
    echo(daemon, apps, workers=1)
    worker, = daemon.workers()
    gate = daemon.gate()
    with Handover(worker) as handover, fcgi.Connection(daemon.sock) as busy:
        busy.sock.sendall(fcgi.message(UNTIL=gate))
        wait_for(lambda: daemon.busy() == 1)
        given = []
        for _ in range(3):
            handover.nudge()
            given.append(handover.give(fcgi.message(b"abc")))
        daemon.send(signal.SIGTERM)
        wait_told_to_leave(worker)
        make(gate)
        for c in (busy, *given):
            assert fcgi.body_of(c.answer()[0]) == (b"" if c is busy else b"abc")
    for c in given:
        c.close()


@pytest.mark.quick
@pytest.mark.parametrize("size", [20000, 60000])
def test_head_in_hand_at_max_requests(daemon, apps, size):
    """A worker at its limit has read a part of it, more or less than can be handed over."""
    echo(daemon, apps, workers=1, max_requests=20, max_head="1M")
    whole = fcgi.message(b"body", FILL="x" * 60000, PID="1")
    worker = daemon.workers()[0]
    with Client(fcgi.connect(daemon.sock)) as c:
        c.sock.sendall(whole[:size])
        while pid_in(fcgi.get(daemon.sock, PID="1")) == worker:
            pass
        c.sock.sendall(whole[size:])
        answer = c.answer()[0]
    assert fcgi.body_of(answer) == b"body"
    assert (pid_in(answer) == worker) == (size > 32768)


def test_head_in_hand_with_a_question_that_was_answered(daemon, apps):
    """It stays with the worker that has answered: another would read the question again."""
    echo(daemon, apps, workers=1, max_requests=20)
    worker = daemon.workers()[0]
    whole = fcgi.message(b"body", PID="1")
    with fcgi.connect(daemon.sock) as s:
        s.sendall(whole[:16] + record(GET_VALUES, request=0) + whole[16:30])
        s.recv(8)  # the header of an answer without values
        while pid_in(fcgi.get(daemon.sock, PID="1")) == worker:
            pass
        s.sendall(whole[30:])
        records = read_records(s)
    assert [kind for kind, _, _ in records] == [fcgi.STDOUT, fcgi.STDOUT, fcgi.END]
    assert pid_in(stdout(records)) == worker


@pytest.mark.root
def test_idle_connection_that_goes_round_waits_for_keepalive_timeout(daemon, apps):
    """One that was given on many times stays with a worker, which has not read from it."""
    echo(daemon, apps, workers=1, receive_timeout="300ms", keepalive_timeout="60s")
    gate = daemon.gate()
    with Handover(daemon.workers()[0]) as handover, fcgi.Connection(daemon.sock) as kept, \
            handover.give() as first:
        assert answers(kept)
        assert answers(first)
        stop_worker(daemon.workers()[0])
        busy = handover.give(fcgi.message(UNTIL=gate))  # goes before the kept one, which then
        kept.sock.sendall(fcgi.message(b"abc", keep=True))  # has its turn before the next
        os.kill(daemon.workers()[0], signal.SIGCONT)
        wait_for(lambda: daemon.busy() == 1)
        idle = handover.give(times=200)
        make(gate)
        assert fcgi.body_of(kept.answer()[0]) == b"abc"
        busy.close()
        wait_for(lambda: handover.waiting() == 0)
        silent = fcgi.connect(daemon.sock)
        assert silent.recv(1) == b""  # by receive-timeout
        silent.close()
        assert answers(idle)
        idle.close()


@pytest.mark.root
def test_time_for_a_head_goes_with_it(daemon, apps):
    """Nothing is left: what is here is read, and answered if it is all. A second is left: so it is."""
    echo(daemon, apps, workers=1, receive_timeout="60s")
    whole = fcgi.message(b"abc")
    with Handover(daemon.workers()[0]) as handover:
        with handover.give(whole, left=1) as client:
            assert fcgi.body_of(client.answer()[0]) == b"abc"
        with handover.give(whole[:30], left=1) as client:
            assert client.sock.recv(1) == b""
        with handover.give(whole[:30], left=1 + 1000 // 8) as client:
            began = time.monotonic()
            assert client.sock.recv(1) == b""
            assert 0.9 < time.monotonic() - began < 10


@pytest.mark.root
@pytest.mark.parametrize("size", [0, 50000, 180000])
def test_rest_of_a_head_that_came_in_time_is_read(daemon, apps, size):
    """A sibling has read a part and gives it away, when the time is over and the rest is here."""
    echo(daemon, apps, workers=1, max_head="1M")
    whole = fcgi.message(b"abc", FILL="x" * size)
    worker, = daemon.workers()
    with Handover(worker) as handover:
        stop_worker(worker)
        with handover.give(whole[:30], left=1) as client:
            client.sock.sendall(whole[30:])
            os.kill(worker, signal.SIGCONT)
            assert fcgi.body_of(client.answer()[0]) == b"abc"


@pytest.mark.root
def test_worker_that_sends_what_it_should_not(daemon, apps):
    """Two descriptors in a message, none, nothing at all: no descriptor is left, the next is taken."""
    echo(daemon, apps, workers=1)
    worker = daemon.workers()[0]
    with Handover(worker) as handover, open("/dev/null", encoding="utf-8") as null:
        descriptors = len(os.listdir("/proc/%d/fd" % worker))
        for n in range(20):
            handover.give(more=[null.fileno()] * (n % 4 + 1)).close()
            handover.sock.send(b"\0\1")
            handover.sock.send(b"")
            handover.sock.sendmsg([b""], [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
                                           array.array("i", [null.fileno()]))])
            handover.sock.sendmsg([b"1"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
                                            array.array("i", [null.fileno()]))])
            wait_for(lambda: handover.waiting() == 0)
        with handover.give() as client:
            assert answers(client)
        wait_for(lambda: len(os.listdir("/proc/%d/fd" % worker)) == descriptors)
