"""Deaths: of workers, of pools, of the master. Each costs what it must and no more."""

import contextlib
import os
import random
import re
import signal
import subprocess
import threading
import time

import pytest

import fcgi
from daemon import (BINARY, LIMIT, alive, children, free_port, make, often, processes_of, read, title,
                    wait_for)
from load import Load, Numbers
from webserver import fetch


def kill_one(daemon, pool=None):
    workers = daemon.workers(pool)
    if workers:
        victim = random.choice(workers)
        try:
            os.kill(victim, signal.SIGKILL)
            return True
        except ProcessLookupError:
            pass
    return False


@pytest.mark.quick
def test_killed_worker_is_replaced_at_once(daemon):
    daemon.write(daemon.pool())
    daemon.start()
    for _ in range(5):
        before = set(daemon.workers())
        victim = min(before)
        os.kill(victim, signal.SIGKILL)
        wait_for(lambda: len(set(daemon.workers()) - before) == 1 and len(daemon.workers()) == 4)
        daemon.wait_log(r"pool www: worker %d killed by SIGKILL after \d+ requests?, replaced by \d+"
                        % victim)
        assert fcgi.get(daemon.sock)


def test_kill_9_under_load_behind_nginx(daemon, nginx):
    """A kill costs at most the request in that worker's hand; all workers are back soon after."""
    daemon.write(daemon.pool())
    daemon.start()
    url = nginx("unix:" + daemon.sock)

    def request(_rnd):
        assert int(fetch(url)) > 0

    killed = 0
    with Load(8, request) as load:
        wait_for(lambda: load.done > 20)
        for _ in range(often(20, 200)):
            killed += kill_one(daemon)
            time.sleep(0.05)
        # "within a second", with room for a machine that is busy with eight clients
        wait_for(lambda: len(daemon.workers()) == 4, 5)
    assert killed >= often(15, 150)
    assert len(load.lost) <= killed, (len(load.lost), killed, load.lost[:3])
    assert load.done > killed


def test_kill_all_at_once(daemon, apps):
    for pool in (daemon.pool(workers=32), daemon.pool(workers=32, command=apps + "/plain")):
        daemon.write(pool)
        daemon.start()
        before = set(daemon.workers())
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: len(set(daemon.workers()) - before) == 32)
        assert fcgi.get(daemon.sock)
        daemon.end()


@pytest.mark.quick
@pytest.mark.parametrize("program,words", [
    ("/bin/sh -c 'exit 0'", "exited with code 0"),
    ("/bin/sh -c 'exit 7'", "exited with code 7"),
    ("/bin/sh -c 'kill -SEGV $$'", "killed by SIGSEGV"),
])
def test_program_that_breaks_later_is_tried_with_a_growing_delay(daemon, apps, program, words):
    """It works at the start and then no more: delays double to 5 s, other pools serve on."""
    link = os.path.join(daemon.dir, "program")
    broken = os.path.join(daemon.dir, "broken")
    with open(broken, "w", encoding="utf-8") as f:
        f.write("#!/bin/sh\nexec %s\n" % program)
    os.chmod(broken, 0o755)
    os.symlink(apps + "/plain", link)
    daemon.write(daemon.pool("good", workers=1),
                 daemon.pool("bad", listen=daemon.dir + "/bad.sock", command=link, workers=2))
    daemon.start()
    os.unlink(link)
    os.symlink(broken, link)
    for pid in set(daemon.workers()) - set(daemon.workers("good")):
        os.kill(pid, signal.SIGKILL)
    daemon.wait_log("next try in 400 ms")
    log = daemon.read_log()
    assert re.search(r"pool bad: worker \d+ %s before it was ready, next try in 100 ms" % words, log)
    delays = [int(d) for d in re.findall(r"next try in (\d+) ms", log)]
    assert delays == sorted(delays) and delays[:3] == [100, 200, 400], delays
    assert [fcgi.number(daemon.sock) for _ in range(3)] == [1, 2, 3]
    os.unlink(link)
    os.symlink(apps + "/plain", link)  # mended: it comes back by itself
    wait_for(lambda: "back-off ends" in daemon.read_log())
    wait_for(lambda: len(daemon.workers()) == 3)
    assert fcgi.get(daemon.dir + "/bad.sock")


def test_forks_are_bounded(daemon, apps):
    """A program that dies at once after it was ready is not forked as fast as the machine can."""
    flaky = os.path.join(daemon.dir, "flaky")
    counter = os.path.join(daemon.dir, "count")
    with open(flaky, "w", encoding="utf-8") as f:
        f.write("#!/bin/sh\necho x >> %s\n[ $(wc -l < %s) -le 4 ] && exec %s/plain\nexit 1\n"
                % (counter, counter, apps))
    os.chmod(flaky, 0o755)
    os.close(os.open(counter, os.O_CREAT | os.O_WRONLY))
    os.chmod(counter, 0o666)
    daemon.write(daemon.pool(command=flaky, workers=4))
    daemon.start()
    for pid in daemon.workers():
        os.kill(pid, signal.SIGKILL)
    daemon.wait_log("next try in 1600 ms")
    # 4 at the start, up to 4 as replacements, then one each at 100, 200, 400, 800 ms
    assert len(read(counter).split()) <= 4 + 4 + 5


@pytest.mark.quick
def test_leftovers_of_a_dead_worker_are_told_to_stop(daemon, apps):
    """What a worker had started in its process group does not live on without it."""
    daemon.write(daemon.pool(command="/bin/sh -c 'sleep 1000 & exec %s/plain'" % apps, workers=1))
    daemon.start()
    worker = daemon.workers()[0]
    sleeper = wait_for(lambda: children(worker))[0]
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: not alive(sleeper))


@pytest.mark.parametrize("kind", ["counter", "module", "command"])
def test_master_killed_while_requests_run(daemon, apps, kind):
    """kill -9 of the master: running requests complete, nothing remains, a start works at once."""
    keys = {"counter": {"app": "counter"}, "module": {"module": apps + "/module_echo"},
            "command": {"command": apps + "/plain"}}[kind]
    port = free_port()
    for round_ in range(often(4, 50)):
        daemon.write(daemon.pool(listen="%s 127.0.0.1:%d" % (daemon.sock, port), workers=4,
                                 listen_mode="0666", **keys))
        daemon.start()
        workers = daemon.workers()
        answers, threads = [], []
        body, gate = os.urandom(100000), daemon.gate()
        if kind == "module":
            def ask(to=answers, address=daemon.sock):
                to.append(fcgi.body_of(fcgi.get(address, body, UNTIL=gate)) == body)
            threads = [threading.Thread(target=ask) for _ in range(3)]
            for t in threads:
                t.start()
            wait_for(lambda: daemon.busy() == 3)
        os.kill(daemon.pid, signal.SIGKILL)
        wait_for(lambda: not alive(daemon.pid))
        if round_ % 2:
            make(gate)
            wait_for(lambda: not any(alive(p) for p in workers))
        daemon.start()  # half of the time while old workers still have their requests
        assert fcgi.get(daemon.sock)
        make(gate)
        for t in threads:
            t.join()
        assert len(answers) == len(threads) and all(answers), (round_, answers)
        wait_for(lambda: not any(alive(p) for p in workers))
        daemon.end()


def test_workers_go_when_the_master_is_killed_before_they_are_ready(daemon):
    """A program that is still starting goes with its master."""
    daemon.write(daemon.pool(command="/bin/sleep 1000", workers=2, start_timeout="60s"))
    process = subprocess.Popen([BINARY, "-F", "-c", daemon.conf], stderr=subprocess.DEVNULL,
                               env=daemon.environment())
    wait_for(lambda: sum("sleep 1000" in title(c) for c in children(process.pid)) == 2)
    workers = children(process.pid)
    process.kill()
    process.wait()
    wait_for(lambda: not any(alive(p) for p in workers))
    os.unlink(daemon.pidfile)
    if os.path.exists(daemon.sock):
        os.unlink(daemon.sock)


def test_stopped_master_stops_nobody(daemon):
    """SIGSTOP of the master: workers serve on, a full output pipe does not block them."""
    daemon.write(daemon.pool())
    daemon.start()
    os.kill(daemon.pid, signal.SIGSTOP)
    try:
        numbers = Numbers(daemon.sock)
        with Load(4, numbers) as load:
            wait_for(lambda: load.done > 500)
        assert not load.lost
        numbers.check()
        victim = daemon.workers()[0]
        os.kill(victim, signal.SIGKILL)
        assert fcgi.get(daemon.sock)
    finally:
        os.kill(daemon.pid, signal.SIGCONT)
    daemon.wait_workers(4)
    assert processes_of(daemon.dir)


def test_descriptors_do_not_grow(daemon, apps):
    """Reloads, deaths and failures leave no descriptor behind in the master."""
    daemon.write(daemon.pool("one"),
                 daemon.pool("two", listen=daemon.dir + "/two.sock", command=apps + "/plain"))
    daemon.start()

    def settle():
        before = set(daemon.workers())
        assert daemon.reload() == "ok"
        wait_for(lambda: len(daemon.workers()) == 8 and not before & set(daemon.workers()))
        return daemon.descriptors()

    settle()
    first = settle()
    for _ in range(often(5, 50)):
        for pid in daemon.workers():
            with contextlib.suppress(ProcessLookupError):  # of a reload that failed, and on its way
                os.kill(pid, signal.SIGKILL)
        wait_for(lambda: len(daemon.workers()) == 8, LIMIT)
        settle()
        good = read(daemon.conf)
        daemon.write(daemon.pool("one"), daemon.pool("three", listen=daemon.dir + "/three.sock",
                                                     command="/bin/false"))
        assert daemon.reload().startswith("failed")
        with open(daemon.conf, "w", encoding="utf-8") as f:
            f.write(good)
        wait_for(lambda: len(daemon.workers()) == 8, LIMIT)  # those of the reload are gone
    wait_for(lambda: settle() == first)
