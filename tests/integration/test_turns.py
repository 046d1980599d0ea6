"""Who has a turn, and when, where more always have a request than are served."""

import itertools
import os
import select
import signal
import threading

import pytest

import fcgi
from daemon import make, wait_for
from load import Load
from records import COMPLETE, ended, protocol_status, read_records
from test_handover import Handover, answers, echo, shared_in, stop_worker, unread


@pytest.mark.quick
@pytest.mark.parametrize("size", [3000, 40000, 200000])
def test_pipelined_request_is_not_passed_over_for_ever(daemon, apps, size):
    """Others always have a request ready, on kept and on new connections: this one has its turn."""
    echo(daemon, apps, workers=1)
    kept, clients = threading.local(), iter(range(12))

    def request(_rnd):
        if not hasattr(kept, "c"):
            kept.c = fcgi.Connection(daemon.sock) if next(clients) % 2 else None
        if kept.c is not None:
            kept.c.request(keep=True, SLEEP_MS="3")
        else:
            fcgi.get(daemon.sock, SLEEP_MS="3")

    with Load(12, request) as load:
        wait_for(lambda: load.done > 20)
        before = load.done
        with fcgi.connect(daemon.sock) as s:
            s.sendall(fcgi.message(b"first", keep=True) + fcgi.message(b"x" * size, keep=True))
            ends = iter((False, True))
            records = read_records(s, lambda *r: ended(*r) and next(ends), 10)
            assert protocol_status(records) == [(1, COMPLETE)] * 2
        assert load.done - before < 100
    assert not load.lost, load.lost[:3]


class Ready:
    """Kept connections that always have a request waiting."""

    message = fcgi.message(keep=True, SLEEP_MS="1")

    def __init__(self, daemon, count):
        self.asked = {}
        self.served = self.longest = 0
        for _ in range(count):
            c = fcgi.Connection(daemon.sock)
            c.request(keep=True)
            self.asked[c.sock] = (c, 0)
        for s in self.asked:
            s.sendall(self.message)

    def serve_until(self, done):
        """Asks again whoever was answered."""
        while not done():
            for s in select.select(list(self.asked), [], [], 10)[0]:
                c, since = self.asked[s]
                c.answer()
                self.served += 1
                self.longest = max(self.longest, self.served - since)
                s.setblocking(True)
                s.sendall(self.message)
                self.asked[s] = (c, self.served)

    def close(self):
        for s in self.asked:
            s.close()


@pytest.mark.quick
@pytest.mark.parametrize("count", [31, 60])
def test_kept_connections_have_their_turn(daemon, apps, count):
    """All of them always have a request waiting, more than a look at events shows at once."""
    echo(daemon, apps, workers=1)
    ready = Ready(daemon, count)
    ready.serve_until(lambda: ready.served >= 20 * count)
    longest = max(ready.longest, *(ready.served - since for _, since in ready.asked.values()))
    assert longest < 5 * count
    ready.close()


@pytest.mark.quick
@pytest.mark.parametrize("pieces", [2, 5])
def test_head_in_pieces_has_its_turn(daemon, apps, pieces):
    """Beside others that always have a whole request waiting."""
    echo(daemon, apps, workers=1)
    ready = Ready(daemon, 20)
    message = fcgi.message(keep=True)
    with fcgi.Connection(daemon.sock) as c:
        for i in range(pieces):
            ready.serve_until(lambda end=100 * i: ready.served >= end)
            c.sock.sendall(message[len(message) * i // pieces:len(message) * (i + 1) // pieces])
        before = ready.served
        ready.serve_until(lambda: select.select([c.sock], [], [], 0)[0] or ready.served > 1000)
        assert c.answer()[1] == 0
        assert ready.served - before < 300
    ready.close()


@pytest.mark.root
def test_everybody_has_a_turn(daemon, apps):
    """What siblings gave away, two listeners and kept connections, all of them always ready."""
    second = daemon.sock + "2"
    echo(daemon, apps, workers=1, listen="%s %s" % (daemon.sock, second))
    worker, = daemon.workers()
    kept = [fcgi.Connection(daemon.sock) for _ in range(4)]
    assert all(answers(c) for c in kept)
    with Handover(worker) as handover:
        stop_worker(worker)
        waiting = {"given": [handover.give() for _ in range(4)],
                   "first": [fcgi.Connection(daemon.sock) for _ in range(4)],
                   "second": [fcgi.Connection(second) for _ in range(4)], "kept": kept}
        for c in itertools.chain(*waiting.values()):
            c.sock.sendall(fcgi.message(keep=True, SHARED="1"))
        os.kill(worker, signal.SIGCONT)
        turns = {}
        for name, clients in waiting.items():
            for c in clients:
                turns[shared_in(c.answer()[0])] = name
                c.close()
    order = [turns[n] for n in sorted(turns)]
    assert len(order) == 16 and set(order[:6]) == set(waiting), order


@pytest.mark.root
def test_one_that_is_always_ready_waits_for_its_turn(daemon, apps):
    """Its next request is there before the answer to the last: those that came before go first."""
    echo(daemon, apps, workers=1)
    worker, = daemon.workers()
    gate = daemon.gate()
    clients = [fcgi.Connection(daemon.sock) for _ in range(10)]
    assert all(answers(c) for c in clients)
    greedy, *others = clients
    wait_for(lambda: daemon.busy() == 0)
    with Handover(worker) as handover:
        stop_worker(worker)
        given = [handover.give() for _ in range(14)]  # more than turns: nothing is given away
        greedy.sock.sendall(fcgi.message(keep=True, SHARED="1", UNTIL=gate))
        for c in given + others:
            c.sock.sendall(fcgi.message(keep=True, SHARED="1"))
        os.kill(worker, signal.SIGCONT)
        wait_for(lambda: not unread(greedy.sock))
        greedy.sock.sendall(fcgi.message(keep=True, SHARED="1"))
        make(gate)
        numbers = [shared_in(c.answer()[0]) for c in [*others, greedy, greedy]]
    assert numbers[-2] == min(numbers) and numbers[-1] == max(numbers), numbers
    for c in given + clients:
        c.close()
