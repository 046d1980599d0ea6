"""What preforkd costs when nothing happens, and how far it goes."""

import os
import re
import time

import pytest

import fcgi
from daemon import children, free_port, often, read, status, wait_for
from load import Load, Numbers


def threads(pid):
    return [int(t) for t in os.listdir("/proc/%d/task" % pid)]


def switches(pid):
    return sum(int(status(t, "voluntary_ctxt_switches")) for t in threads(pid))


def pss(pid):
    return int(re.search(r"^Pss:\s+(\d+) kB", read("/proc/%d/smaps_rollup" % pid), re.M).group(1))


def test_idle_daemon_is_asleep(daemon, apps):
    """Seconds without a request: no wake-up of the master or of any worker."""
    daemon.write(daemon.pool("one"),
                 daemon.pool("two", listen=daemon.dir + "/two.sock", listen_mode="0666",
                             command=apps + "/plain"))
    daemon.start()
    for _ in range(20):
        fcgi.get(daemon.sock), fcgi.get(daemon.dir + "/two.sock")
    kept = [fcgi.Connection(daemon.sock) for _ in range(8)]
    for c in kept * 2:
        c.request(keep=True)
    everyone = [daemon.pid, *daemon.workers()]
    assert len(everyone) == 9
    assert max(len(threads(p)) for p in everyone) == 2  # the porter sleeps as well
    time.sleep(0.2)  # what the last request still does
    before = {p: switches(p) for p in everyone}
    time.sleep(often(6, 30))  # the time is what is measured here
    assert {p: switches(p) - before[p] for p in everyone} == {p: 0 for p in everyone}
    for c in kept:
        c.close()


@pytest.mark.quick
@pytest.mark.parametrize("network", ["unix", "tcp"])
def test_connection_wakes_one_worker(daemon, network):
    """Not all that are idle: most requests cost two wake-ups or less, of sixteen workers."""
    address = daemon.sock if network == "unix" else "127.0.0.1:%d" % free_port()
    daemon.write(daemon.pool(workers=16, listen=address))
    daemon.start()
    fcgi.get(address)
    before = sum(switches(p) for p in daemon.workers())
    for _ in range(100):
        fcgi.get(address)
    assert sum(switches(p) for p in daemon.workers()) - before < 300


@pytest.mark.quick
def test_memory_of_the_master(daemon):
    daemon.write(daemon.pool())
    daemon.start()
    assert pss(daemon.pid) < 4096
    for _ in range(20):
        assert daemon.reload() == "ok"
    daemon.wait_workers(4)
    assert pss(daemon.pid) < 4096


def test_a_thousand_workers(daemon):
    """They start, serve every one of many clients, are respawned, and stop."""
    daemon.write(daemon.pool(workers=1000))
    began = time.monotonic()
    daemon.start()
    started = time.monotonic() - began
    assert len(children(daemon.pid)) == 1000
    memory = pss(daemon.pid) + sum(pss(p) for p in children(daemon.pid))
    numbers = Numbers(daemon.sock)
    with Load(16, numbers) as load:
        wait_for(lambda: load.done > 2000)
        assert daemon.reload(limit=120) == "ok"
    assert not load.lost
    numbers.check()
    wait_for(lambda: len(children(daemon.pid)) == 1000, 60)
    began = time.monotonic()
    daemon.end(limit=60)
    print("1000 workers: ready in %.2f s, PSS %.1f MB with the master, stopped in %.2f s"
          % (started, memory / 1024, time.monotonic() - began))
    assert os.path.exists(daemon.log)
