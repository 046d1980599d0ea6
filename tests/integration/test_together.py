"""Everything that takes workers out of service, at once and at random: nobody loses a request."""

import random
import signal
import threading

import pytest

from daemon import APPS, often, wait_for
from load import Load
from programs import PROGRAMS, pool_of, serve


def waves(request, daemon):
    """Clients that pause now and then, so that the pool shrinks and grows."""
    def wave(rnd):
        request(rnd)
        if rnd.random() < 0.02:
            daemon.pause.wait(rnd.random() / 3)
    return wave


@pytest.mark.parametrize("name", ["module", "libfcgi", "php-cgi", "events", "ruby", "threads"])
def test_reloads_upgrades_scaling_and_recycling(daemon, name):
    keys = {"workers": "1..8", "idle_timeout": "100ms", "max_age": "700ms", "spare": 2,
            "request_timeout": "30s", "slow_request": "10s"}
    if name == "module":
        daemon.write(daemon.pool(module=APPS + "/module_echo", max_requests=40, max_memory="64M", **keys))
    else:
        daemon.write(pool_of(daemon, name, **keys))
    daemon.start()
    pid, rnd = daemon.pid, random.Random(name)
    daemon.pause = threading.Event()
    request = serve(name if name in PROGRAMS else "libfcgi", daemon.sock)

    def hurt():
        what = rnd.choice(("HUP", "HUP", "TTIN", "TTOU", "USR1", "USR2"))
        before = daemon.result()[0]
        daemon.send(getattr(signal, "SIG" + what))
        if what in ("HUP", "USR2"):
            wait_for(lambda: daemon.result()[0] > before and daemon.result()[1] != "running",
                     why="the end of " + what)
            assert daemon.result()[1] == "ok", daemon.result()

    with Load(12, waves(request, daemon)) as load:
        rounds = load.disturb(hurt, seconds=often(3, 120))
        daemon.pause.set()
    print("%s: %d requests, %d signals" % (name, load.done, rounds))
    assert not load.lost, (len(load.lost), load.lost[:3])
    assert daemon.pid == pid and rounds > 2
    wait_for(lambda: len(daemon.workers()) == 1, why="shrinking")
    request(rnd)
    for bad in ("did not stop within", "is killed", "SIGKILL", "SIGSEGV", "SIGABRT", "failed"):
        assert bad not in daemon.read_log(), bad
