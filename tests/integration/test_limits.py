"""Where a worker inside preforkd stops by itself: so many requests, and so long for one."""

import collections
import re

import pytest

import fcgi
from daemon import alive, wait_for
from load import Load
from records import COMPLETE, ask, is_whole_answer, protocol_status, stdout


def serves(daemon, apps, **keys):
    daemon.write(daemon.pool(module=apps + "/module_echo", **keys))
    return daemon.start()


@pytest.mark.quick
@pytest.mark.parametrize("keep", [False, True])
def test_max_requests_is_exact(daemon, apps, keep):
    """No worker answers more, those that have gone answered all of them, and nothing is lost."""
    serves(daemon, apps, workers=3, max_requests=20)
    answered = collections.Counter()
    connections = []

    def request(_rnd):
        if not keep or not connections_of:
            connections_of.append(fcgi.Connection(daemon.sock))
            connections.append(connections_of[-1])
        answer = connections_of[-1].request(keep=keep, PID="1")[0]
        answered[int(re.search(rb"X-Pid: (\d+)", answer).group(1))] += 1
        if not keep:
            connections_of.pop().close()

    connections_of = []
    with Load(1, request) as load:
        wait_for(lambda: load.done >= 400 or load.lost, 60)
    for c in connections:
        c.close()
    assert not load.lost, load.lost[:3]
    assert max(answered.values()) <= 22, answered
    wait_for(lambda: sum(not alive(p) for p in answered) > 10)
    gone = {p: n for p, n in answered.items() if not alive(p)}
    assert all(n >= 18 for n in gone.values()), gone


@pytest.mark.quick
@pytest.mark.parametrize("keep", [False, True])
def test_max_requests_under_load_loses_nothing(daemon, apps, keep):
    serves(daemon, apps, workers=3, max_requests=20)
    answered = collections.Counter()
    mine = {}

    def request(rnd):
        c = mine.pop(rnd, None) or fcgi.Connection(daemon.sock)
        answer = c.request(b"x" * rnd.choice((0, 3000)), keep=keep, PID="1")[0]
        answered[int(re.search(rb"X-Pid: (\d+)", answer).group(1))] += 1
        if keep:
            mine[rnd] = c
        else:
            c.close()

    with Load(6, request) as load:
        wait_for(lambda: load.done >= 1000 or load.lost, 60)
    for c in mine.values():
        c.close()
    assert not load.lost, load.lost[:3]
    assert max(answered.values()) <= 22, answered


@pytest.mark.quick
def test_expired_request_is_answered(daemon, apps):
    """request-timeout: whoever got nothing yet gets 504, on a connection that ends well."""
    serves(daemon, apps, workers=1, request_timeout="300ms")
    asked = fcgi.message(SLEEP_MS="60000", SCRIPT_NAME="/slow", PATH_INFO="/path?no")
    records = ask(daemon.sock, asked)
    assert stdout(records).startswith(b"Status: 504 Gateway Timeout\r\n"), records
    assert protocol_status(records) == [(1, COMPLETE)] and is_whole_answer(records)
    assert fcgi.body_of(fcgi.get(daemon.sock, b"x")) == b"x"
    daemon.wait_log("GET /slow/path(?![?])")
