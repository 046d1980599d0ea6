"""Programs that know nothing of preforkd are retired without losing a request."""

import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

import fcgi
from daemon import APPS, BINARY, SOAK, free_port, often, open_files, status, wait_for
from load import Load, noise
from programs import PROGRAMS, SLOW, browse, compare, for_program, pool_of, serve

LONG = 3.0  # seconds of a long request


def retired(daemon):
    return len(re.findall(r"retiring worker \d+", daemon.read_log()))


def scale(daemon, workers):
    """Down to two and up again, one by one."""
    for signo, counts in ((signal.SIGTTOU, range(workers - 1, 1, -1)),
                          (signal.SIGTTIN, range(3, workers + 1))):
        for count in counts:
            daemon.send(signo)
            daemon.wait_workers(count)


# Through nginx, in make test: one of each kind.
CASES = [(n, "directly") for n in PROGRAMS] + \
        [(n, "nginx") for n in PROGRAMS if SOAK or n in ("libfcgi", "events", "mapserver")]


@pytest.mark.parametrize("name,front", CASES, ids=lambda v: v.replace(" ", "-"))
def test_reload_and_scaling_lose_nothing(daemon, nginx, name, front):
    """HUPs in a row, then down to 2 workers and back, under load: every byte of every answer comes."""
    address = daemon.sock if front == "directly" else "127.0.0.1:%d" % free_port()
    keys = {"listen": address, "listen-mode": "0666"} if front == "directly" else {"listen": address}
    workers = often(4 if name in SLOW else 5, 8)
    daemon.write(pool_of(daemon, name, workers=workers, **keys))
    daemon.start()
    request = serve(name, address) if front == "directly" else \
        browse(name, int(nginx(address, for_program(name)).rsplit(":", 1)[1].strip("/")))
    begun = time.monotonic()
    with Load(2 * workers, request) as load:
        load.disturb(daemon.reload_well, times=often(1 if name in SLOW else 3, 100))
        daemon.wait_workers(workers)
        for _ in range(often(1, 10)):
            scale(daemon, workers)
    print("FIGURES %s %s: %d requests, %d retirements, %d lost, %.0f s" % (
        name, front, load.done, retired(daemon), len(load.lost), time.monotonic() - begun))
    assert not load.lost, (len(load.lost), load.lost[:3])
    daemon.wait_workers(workers)
    assert "did not stop within" not in daemon.read_log()


class Noted:
    """A request function that notes what plain says: who answered when, and how long it was at it."""

    def __init__(self, address, delay, sizes):
        self.address, self.delay, self.sizes = address, delay, sizes
        self.answers = []  # (when, pid, microseconds)

    def __call__(self, rnd):
        body = noise(rnd, rnd.choice(self.sizes))
        answer = fcgi.get(self.address, body, SLEEP_MS=str(self.delay))
        head, _, rest = answer.partition(b"\r\n\r\n")
        compare(body, rest)
        took = int(re.search(rb"X-Took: (\d+)", head).group(1))
        self.answers.append((time.monotonic(), int(rest.partition(b" ")[0]), took))


def median(numbers):
    return sorted(numbers)[len(numbers) // 2]


def percentile(numbers, percent):
    return sorted(numbers)[min(len(numbers) - 1, int(len(numbers) * percent / 100))]


@pytest.mark.parametrize("sizes", [(10, 5000), (1 << 20,)], ids=["small", "1MB"])
def test_pool_without_an_idle_moment(daemon, sizes):
    """16 clients on 4 workers: each retirement ends with the request in hand, and none is lost."""
    daemon.write(daemon.pool(command=APPS + "/plain", workers=4))
    daemon.start()
    noted = Noted(daemon.sock, 5, sizes)
    took, extra, last, others = [], [], [], []
    with Load(16, noted) as load:
        wait_for(lambda: load.done > 50)
        for _ in range(often(5, 100)):
            before, at = set(daemon.workers()), len(noted.answers)
            assert daemon.reload() == "ok"
            began = time.monotonic()
            wait_for(lambda: not before & set(daemon.workers()))
            took.append(time.monotonic() - began)
            goal = load.done + 16
            wait_for(lambda: load.done >= goal)  # what the old ones answered has been noted
            for pid in before:
                own = [a for a in noted.answers[at:] if a[1] == pid]
                extra.append(sum(a[0] > began for a in own))
                last += [a[2] for a in own[-1:]]
                others += [a[2] for a in own[:-1]]
    assert not load.lost, (len(load.lost), load.lost[:3])
    print("FIGURES saturated %s: gone after %.1f ms (median), %.1f ms (longest); answers after the reload: "
          "%d (median), %d (most); last request %.2f ms (median), another %.2f ms" % (
              sizes, median(took) * 1000, max(took) * 1000, median(extra), max(extra),
              median(last) / 1000, median(others or last) / 1000))
    assert max(took) < 5  # not by stop-timeout, which is 30 s
    assert max(extra) <= 3  # the one in hand, and what the clients had not looked at yet


@pytest.mark.parametrize("name", ["php-cgi with children", "threads", "processes of a thread"])
def test_group_without_an_idle_moment(daemon, name):
    """Always one of its processes or threads has a request: they are gathered one by one."""
    daemon.write(pool_of(daemon, name, workers=2))
    daemon.start()
    took = []
    with Load(16, serve(name, daemon.sock, (5, 5), (10, 5000))) as load:
        for _ in range(often(3, 50)):
            goal = load.done + 50
            wait_for(lambda: load.done > goal)
            before = set(daemon.workers())
            assert daemon.reload() == "ok"
            began = time.monotonic()
            wait_for(lambda: not before & set(daemon.workers()))
            took.append(time.monotonic() - began)
    print("FIGURES saturated %s: gone after %.1f ms (median), %.1f ms (longest), %d lost of %d" % (
        name, median(took) * 1000, max(took) * 1000, len(load.lost), load.done))
    assert not load.lost, (len(load.lost), load.lost[:3])
    assert max(took) < 10  # not by stop-timeout, which is 30 s


@pytest.mark.parametrize("name", ["libfcgi"] if not SOAK else
                         ["libfcgi", "perl", "php-cgi", "fcgiwrap", "events", "threads"])
def test_long_requests_at_reloads_delay_nobody(daemon, name):
    """One of three seconds runs at each HUP: it completes, and the others wait no longer than they do
    beside such a request without a HUP."""
    daemon.write(pool_of(daemon, name, workers=8))
    daemon.start()
    inner, times = serve(name, daemon.sock, sizes=(10, 5000)), []

    def request(rnd):
        began = time.monotonic()
        inner(rnd)
        times.append(time.monotonic() - began)

    def round_of(hurt):
        answers = []
        params = {**PROGRAMS[name][1], "SLEEP_MS": str(int(LONG * 1000))}
        long = threading.Thread(target=lambda: answers.append(fcgi.get(daemon.sock, b"long", **params)))
        began = time.monotonic()
        long.start()
        wait_for(lambda: time.monotonic() - began > 0.3)  # it is in hand
        hurt()
        long.join()
        assert answers and answers[0].endswith(b"long")
        assert time.monotonic() - began < LONG + 2
        found = times[:]
        times.clear()
        return found

    calm, hurt = [], []
    with Load(4, request) as load:
        for _ in range(often(1, 5)):
            calm += round_of(lambda: None)
            hurt += round_of(daemon.reload_well)
    assert not load.lost, load.lost[:3]
    a, b = percentile(calm, 99), percentile(hurt, 99)
    print("FIGURES beside a long request, %s: p50 %.1f -> %.1f ms, p99 %.1f -> %.1f ms, longest %.1f -> %.1f" % (
        name, percentile(calm, 50) * 1e3, percentile(hurt, 50) * 1e3, a * 1e3, b * 1e3,
        max(calm) * 1e3, max(hurt) * 1e3))
    assert b < 5 * a + 0.1  # the new workers start meanwhile, on the same machine


@pytest.mark.parametrize("name", ["libfcgi", "events"])
def test_long_request_at_a_reload_completes(daemon, name):
    """It goes on in the old worker, and nobody waits for it."""
    daemon.write(daemon.pool(command=PROGRAMS[name][0], workers=2))
    daemon.start()
    with fcgi.Connection(daemon.sock) as slow:
        message = fcgi.message(b"x" * 1000, SLEEP_MS="1500")
        slow.sock.sendall(message[:-8])  # the end of the body comes later
        before = set(daemon.workers())
        assert daemon.reload() == "ok"
        wait_for(lambda: len(set(daemon.workers()) - before) == 2)
        for _ in range(20):
            assert fcgi.get(daemon.sock, b"y").endswith(b"y")
        assert len(before & set(daemon.workers())) >= 1
        slow.sock.sendall(message[-8:])
        data = b""
        slow.sock.setblocking(True)
        while True:
            got = slow.sock.recv(65536)
            if not got:
                break
            data += got
        slow.data = data
        assert b"".join(c for kind, c in slow._records() if kind == fcgi.STDOUT).endswith(b"x" * 1000)
    wait_for(lambda: not before & set(daemon.workers()))


def test_requests_in_hand_complete_at_stop(daemon):
    """TERM: what a program has accepted is answered whole."""
    daemon.write(daemon.pool(command=APPS + "/plain", workers=4))
    daemon.start()
    answers = []
    body = b"z" * 300000

    def ask():
        answers.append(fcgi.get(daemon.sock, body, SLEEP_MS="700"))

    def accepted():
        connections = 0
        for pid in daemon.workers():
            connections += sum(x.startswith("socket:") for x in open_files(pid).values())
        return connections == 8  # a listener and a connection in each

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for t in threads:
        t.start()
    wait_for(accepted)
    daemon.end()
    for t in threads:
        t.join()
    assert [fcgi.body_of(a).endswith(body) for a in answers] == [True] * 4


# Waits in select, and does not hear the first TERM, as one that comes before the handler is there.
HARD_OF_HEARING = """
import os, select, signal, socket
def on_term(*_):
    global heard
    heard += 1
    if heard == 2:
        os._exit(0)
heard = 0
signal.signal(signal.SIGTERM, on_term)
s = socket.socket(fileno=0)
while True:
    select.select([s], [], [])
    c, _ = s.accept()
    c.sendall(b"served")
    c.close()
"""


# Notes a TERM, and looks at the note when it has taken a connection: too late for that one. Needs a
# second to start.
NOTES = """
import os, signal, socket, time
def on_term(*_):
    global told
    told = True
    if waiting:
        os._exit(0)
told = waiting = False
signal.signal(signal.SIGTERM, on_term)
end = time.monotonic() + 1
while time.monotonic() < end:
    pass
s = socket.socket(fileno=0)
while True:
    waiting = not told
    c, _ = s.accept()
    waiting = False
    if told:
        os._exit(0)
    c.sendall(b"served")
    c.close()
"""


def test_program_retired_while_it_starts(daemon):
    """Its handler is there already, and only notes the signal: it must not come before the wait."""
    daemon.write(daemon.pool(command=daemon.script(NOTES), workers=1))
    daemon.start()
    first = set(daemon.workers())
    daemon.send(signal.SIGTTIN)
    second = wait_for(lambda: set(daemon.workers()) - first).pop()
    wait_for(lambda: int(status(second, "SigCgt"), 16) >> 14 & 1)  # TERM
    daemon.send(signal.SIGTTOU)
    answers = []

    def ask():
        with fcgi.connect(daemon.sock, timeout=10) as s:
            answers.append(s.recv(100))
        return second not in daemon.workers()
    wait_for(ask, 15)
    assert set(answers) == {b"served"}


def test_program_that_has_not_heard_is_asked_again(daemon):
    daemon.write(daemon.pool(command=daemon.script(HARD_OF_HEARING), workers=1))
    daemon.start()
    before = daemon.workers()
    assert daemon.reload() == "ok"
    wait_for(lambda: before[0] not in daemon.workers(), 15)
    assert "did not stop within" not in daemon.read_log()


def test_master_killed_while_it_traces(daemon):
    """The kernel lets go of the program; it answers, and goes by its death signal."""
    for _ in range(often(5, 50)):
        daemon.write(daemon.pool(command=APPS + "/plain", workers=4))
        daemon.start()
        workers = daemon.workers()
        with Load(8, serve("libfcgi", daemon.sock, (20, 20), (10,))):
            daemon.send(signal.SIGHUP)
            wait_for(lambda: len(daemon.workers()) > 4 or not set(workers) <= set(daemon.workers()))
            everyone = set(workers) | set(daemon.workers())
            os.kill(daemon.pid, signal.SIGKILL)
        wait_for(lambda: not any(os.path.exists("/proc/%d/fd/0" % p) for p in everyone))
        daemon.start()
        assert fcgi.get(daemon.sock)
        daemon.end()


@pytest.mark.root
def test_without_the_privilege_to_look(daemon):
    """No CAP_SYS_PTRACE and another user's workers: told to stop wherever they are, and it is said."""
    daemon.write(daemon.pool(command=APPS + "/plain", workers=2))
    with open(daemon.log, "a", encoding="utf-8") as log:
        daemon.process = subprocess.Popen(
            ["setpriv", "--bounding-set", "-sys_ptrace", "--inh-caps", "-sys_ptrace", BINARY, "-F",
             "-c", daemon.conf], stderr=log, env=daemon.environment())
    daemon.pid = daemon.process.pid
    daemon.wait_log("serving with")
    assert daemon.read_log().count("may not look into") == 1
    before = set(daemon.workers())
    assert daemon.reload() == "ok"
    wait_for(lambda: not before & set(daemon.workers()))
    assert daemon.read_log().count("may not look into") == 1
    assert fcgi.get(daemon.sock)


# Traces a process as a debugger does: nobody else can. Lets everything happen.
DEBUGGER = """
import ctypes, os, signal, sys
libc = ctypes.CDLL(None)
pid = int(sys.argv[1])
assert libc.ptrace(0x4206, pid, None, None) == 0  # PTRACE_SEIZE
print("traces", flush=True)
while True:
    try:
        _, status = os.waitpid(pid, 0x40000000)  # __WALL
    except ChildProcessError:
        break
    if not os.WIFSTOPPED(status):
        break
    if status >> 16 == 128 and os.WSTOPSIG(status) != signal.SIGTRAP:
        libc.ptrace(0x4208, pid, None, None)  # PTRACE_LISTEN
    else:
        libc.ptrace(7, pid, None, ctypes.c_long(0 if status >> 16 else os.WSTOPSIG(status)))  # CONT
"""


@pytest.mark.root
def test_program_that_cannot_be_traced(daemon):
    """Somebody else does: it is stopped and looked at until it holds no connection. Said once."""
    daemon.write(daemon.pool(command=APPS + "/plain", workers=2))
    daemon.start()
    with Load(2, serve("libfcgi", daemon.sock, (0, 5), (10, 5000, 1 << 20))) as load:
        for _ in range(often(2, 20)):
            debuggers = [subprocess.Popen([sys.executable, "-c", DEBUGGER, str(p)], stdout=subprocess.PIPE)
                         for p in daemon.workers()]
            assert all(d.stdout.readline() == b"traces\n" for d in debuggers)
            assert daemon.reload() == "ok"
            for d in debuggers:
                d.wait(timeout=20)
                d.stdout.close()
    assert not load.lost, load.lost[:3]
    assert daemon.read_log().count("programs cannot be traced") == 1
    assert "did not stop within" not in daemon.read_log()


def test_worker_that_is_stopped_goes_all_the_same(daemon):
    daemon.write(daemon.pool(command=APPS + "/plain", workers=2))
    daemon.start()
    before = set(daemon.workers())
    os.kill(min(before), signal.SIGSTOP)
    assert daemon.reload() == "ok"
    wait_for(lambda: not before & set(daemon.workers()), 20)
    assert not re.search("did not stop within", daemon.read_log())
