"""Workers that have served long enough are replaced, and nobody loses a request by it."""

import os
import re
import shutil
import signal
import threading

import pytest

import fcgi
from daemon import APPS, often, status, wait_for
from load import Load
from programs import PROGRAMS, SLOW, compare, pool_of, serve


def changes(daemon, count):
    """Watches until so many workers have been seen: all of them, the most and fewest at once."""
    seen, most, fewest = set(), 0, 1000

    def enough():
        nonlocal most, fewest
        now = daemon.workers()
        seen.update(now)
        most, fewest = max(most, len(now)), min(fewest, len(now))
        return len(seen) >= count
    wait_for(enough, often(90, 300), "%d workers" % count)
    return seen, most, fewest


@pytest.mark.parametrize("name", [*PROGRAMS, "module"])
def test_max_age_under_load_loses_nothing(daemon, name):
    """Everyone is replaced again and again, one at a time, and never are there too few."""
    workers = often(2 if name in SLOW else 4, 8)
    if name == "module":
        daemon.write(daemon.pool(module=APPS + "/module_echo", workers=workers, max_age="1s"))
    else:
        daemon.write(pool_of(daemon, name, workers=workers, max_age="1s"))
    daemon.start()
    with Load(2 * workers, serve("libfcgi" if name == "module" else name, daemon.sock)) as load:
        seen, most, fewest = changes(daemon, often(2 * workers + 1, 150))
    assert not load.lost, (len(load.lost), load.lost[:3])
    print("%s: %d workers served %d requests, %d to %d at a time" %
          (name, len(seen), load.done, fewest, most))
    assert most <= workers + 2  # a replacement, and one on its way out that is not yet reaped
    assert "did not stop within" not in daemon.read_log()


def test_age_is_spread(daemon):
    """Started together, they do not go together."""
    daemon.write(daemon.pool(workers=20, max_age="2s"))
    daemon.start()
    wait_for(lambda: len(re.findall("is to be replaced: max-age", daemon.read_log())) >= 20)
    times = re.findall(r"T\d+:\d+:(\d+\.\d+)\S* info: pool www: worker \d+ is to be replaced",
                       daemon.read_log())
    assert len(set(times)) > 10


def test_broken_replacement_leaves_the_old_ones(daemon):
    """A program that no longer starts is no reason to end those that run."""
    program = os.path.join(daemon.dir, "program")
    os.symlink(APPS + "/plain", program)
    daemon.write(daemon.pool(command=program, workers=2, max_age="500ms"))
    daemon.start()
    os.unlink(program)
    os.symlink("/bin/false", program)
    before = set(daemon.workers())
    daemon.wait_log("next try in 400 ms")
    assert before & set(daemon.workers())
    for _ in range(20):
        assert fcgi.get(daemon.sock, b"x").endswith(b"x")


def test_request_to_a_worker_at_its_limit_is_answered_at_the_end(daemon):
    """There is no replacement that could have it, and the pool stops."""
    module = shutil.copy(APPS + "/module_echo", daemon.dir)
    daemon.write(daemon.pool(module=module, workers=1, max_requests=1))
    daemon.start()
    os.unlink(module)
    with fcgi.Connection(daemon.sock) as c:
        c.request(keep=True)
        wait_for(lambda: daemon.busy() == 0)
        c.sock.setblocking(True)
        c.sock.sendall(fcgi.message(b"last"))
        daemon.send(signal.SIGTERM)
        assert c.answer()[0].endswith(b"last")


def test_program_that_grows_is_replaced(daemon):
    """max-memory of a command, seen from outside."""
    daemon.write(daemon.pool(command="/usr/bin/perl %s/leak.pl" % APPS, workers=2, max_memory="40M"))
    daemon.start()
    before = set(daemon.workers())
    with Load(2, serve("perl", daemon.sock, (0, 0), (10,))) as load:
        wait_for(lambda: not before & set(daemon.workers()), 60)
    assert not load.lost, load.lost[:3]
    assert "is to be replaced: max-memory" in daemon.read_log()


def test_leaking_module_stays_below_its_limit(daemon):
    """A megabyte a request: no worker passes its limit by more than one request, and none is lost."""
    daemon.write(daemon.pool(module=APPS + "/module_echo", workers=4, max_memory="32M"))
    daemon.start()
    largest, seen = 0, set()

    def request(rnd):
        body = rnd.randbytes(rnd.choice((0, 10, 5000)))
        compare(body, fcgi.body_of(fcgi.get(daemon.sock, body, LEAK="1")))

    def enough():
        nonlocal largest
        for pid in daemon.workers():
            seen.add(pid)
            size = re.match(r"(\d+) kB", status(pid, "VmHWM"))
            largest = max(largest, int(size.group(1)) if size else 0)
        return load.done >= often(400, 20000) or load.lost
    with Load(8, request) as load:
        wait_for(enough, 120)
    assert not load.lost, load.lost[:3]
    print("%d requests, %d workers, the largest had %d kB" % (load.done, len(seen), largest))
    assert len(seen) > 11
    assert largest <= 32 * 1024 * 1.1 + 1024 + 512  # its own limit, a request, and what the kernel rounds


@pytest.mark.quick
def test_requests_of_a_command_cannot_be_counted(daemon):
    daemon.write(daemon.pool(command=APPS + "/plain", max_requests=10))
    done = daemon.run("-t", "-c", daemon.conf)
    assert done.returncode == 78
    assert "cannot be counted" in done.stderr and ":10:" in done.stderr, done.stderr


def test_reload_while_one_is_near_its_limit(daemon):
    """Its replacement is there, and it would serve on: it leaves its place to the new worker."""
    daemon.write(daemon.pool(module=APPS + "/module_echo", workers=1, max_requests=100,
                             start_timeout="1s"))
    daemon.start()
    while "is to be replaced: max-requests" not in daemon.read_log():
        assert fcgi.get(daemon.sock, b"x").endswith(b"x")
    daemon.wait_workers(2)
    daemon.reload_well()
    daemon.wait_workers(1)


def test_reload_while_one_that_is_replaced_has_a_request(daemon):
    """Its place is free when that is answered; the reload waits for it."""
    daemon.write(daemon.pool(module=APPS + "/module_echo", workers=1, max_age="1s",
                             start_timeout="1s"))
    daemon.start()
    answers = []
    thread = threading.Thread(
        target=lambda: answers.append(fcgi.get(daemon.sock, b"x", SLEEP_MS="3500")))
    thread.start()
    daemon.wait_log("is to be replaced: max-age")
    daemon.wait_workers(2)
    daemon.reload_well()
    thread.join()
    assert answers[0].endswith(b"x")


def test_back_off_of_a_pool_that_shrank_meanwhile(daemon):
    """Nothing is missing any more, so that no start could end it: recycling goes on all the same."""
    program = os.path.join(daemon.dir, "program")
    os.symlink(APPS + "/plain", program)
    daemon.write(daemon.pool(command=program, workers="1..2", max_age="2s", idle_timeout="100ms"))
    daemon.start()
    first = daemon.workers()[0]
    os.unlink(program)
    os.symlink("/bin/false", program)
    with fcgi.Connection(daemon.sock) as busy, fcgi.Connection(daemon.sock) as waits:
        for c in (busy, waits):
            c.sock.sendall(fcgi.message(b"x", SLEEP_MS="300"))
        daemon.wait_log("next try in")
    daemon.wait_log("1 workers are enough")
    os.symlink(APPS + "/plain", program + ".new")
    os.replace(program + ".new", program)
    wait_for(lambda: first not in daemon.workers())
    daemon.wait_workers(1)
    daemon.wait_log("back-off ends")
