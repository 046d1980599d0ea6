"""The status against the truth: what clients, /proc and ss have seen; figures that never go back."""

import os
import random
import re
import signal
import subprocess
import threading
import time

import pytest

import fcgi
from daemon import APPS, children, free_port, make, read, status, title, wait_for
from gate import Gate
from load import Load, Numbers, noise
from programs import KINDS


@pytest.fixture
def gate(daemon):
    """For a daemon that begin() starts with a control socket."""
    return Gate(daemon)


def begin(daemon, *pools, **keys):
    daemon.write(*pools, control=daemon.dir + "/control.sock", **keys)
    daemon.start()


class Held:
    """Requests that are in hand until they are let go."""

    def __init__(self, daemon, address, count, **params):
        self.file = daemon.gate()
        self.answers, self.clients = [], []
        for i in range(count):
            self.clients.append(threading.Thread(target=self._run, args=(address, i, params)))
            self.clients[-1].start()

    def _run(self, address, i, params):
        more = {"SCRIPT_NAME": "/held/%d" % i, "REQUEST_URI": "/held/%d?secret=1" % i, **params}
        self.answers.append(fcgi.get(address, UNTIL=self.file, timeout=60, **more))

    def let_go(self):
        make(self.file)
        for c in self.clients:
            c.join()
        assert len(self.answers) == len(self.clients)


@pytest.mark.quick
def test_everything_is_there(daemon, gate):
    """The names are a promise."""
    begin(daemon, daemon.pool(workers=2))
    s = gate.status()
    assert set(s) == {"version", "pid", "now", "started", "state", "reloads", "upgrades", "gate",
                      "retirement", "pools", "events"}
    assert s["state"] == "serving" and s["version"] in daemon.run("-V").stdout
    assert abs(s["now"] - time.time()) < 5 and s["now"] - 60 < s["started"] <= s["now"]
    assert s["reloads"] == s["upgrades"] == {
        "done": 0, "failed": 0, "last": {"result": "none", "at": None, "reason": ""}}
    pool = s["pools"][0]
    assert set(pool) == {"name", "kind", "program", "state", "healthy", "reason", "generation",
                         "draining", "listeners", "workers", "requests", "bytes_in", "bytes_out",
                         "spawned", "died", "backoff", "latency", "list"}
    assert (pool["name"], pool["kind"], pool["program"]) == ("www", "app", "counter")
    assert pool["workers"] == {"min": 2, "max": 2, "wanted": 2, "live": 2, "starting": 0, "idle": 2,
                               "busy": 0, "retiring": 0}
    assert pool["listeners"] == [{"address": daemon.sock, "queue": 0, "queue_limit": 4096,
                                  "queue_high": 0}]
    assert pool["died"] == {"exited": 0, "signal": 0, "timeout": 0, "failed_start": 0, "retired": 0}
    assert pool["backoff"] == {"active": False, "delay": 0, "ends_in": 0} and pool["spawned"] == 2
    worker = pool["list"][0]
    assert set(worker) == {"slot", "pid", "generation", "state", "started", "requests", "request",
                           "last_seconds", "total_seconds", "bytes_in", "bytes_out", "connections",
                           "cpu_seconds", "resident_bytes"}
    assert sorted(w["pid"] for w in pool["list"]) == sorted(daemon.workers())
    assert s["started"] - 1 <= worker["started"] <= s["now"]
    assert re.match(r"serving with 2 workers in 1 pool", s["events"][-1]["text"])
    assert s["events"][-1]["level"] == "notice"


def test_workers_and_requests(daemon, gate):
    """Busy are those that have a request, and it is the one that was sent."""
    begin(daemon, daemon.pool(module=APPS + "/module_echo", workers=5))
    before = time.time()
    held = Held(daemon, daemon.sock, 3)
    pool = gate.wait_pool(lambda p: p["workers"]["busy"] == 3)
    assert pool["workers"]["idle"] == 2
    busy = [w for w in pool["list"] if w["state"] == "busy"]
    assert sorted(w["pid"] for w in busy) == sorted(
        p for p in daemon.workers() if title(p).endswith(" busy"))
    assert sorted(w["request"]["path"] for w in busy) == ["/held/0", "/held/1", "/held/2"]
    assert all(w["request"]["method"] == "GET" for w in busy)
    assert all(0 <= w["request"]["seconds"] <= time.time() - before for w in busy)
    assert all(w["request"] is None for w in pool["list"] if w["state"] == "idle")
    held.let_go()
    pool = gate.wait_pool(lambda p: p["workers"]["idle"] == 5)
    assert pool["requests"] == 3 and sum(w["requests"] for w in pool["list"]) == 3
    with Load(4, lambda rnd: fcgi.get(daemon.sock, rnd.randbytes(100))) as load:
        wait_for(lambda: load.done > 200)
    pool = gate.wait_pool(lambda p: p["requests"] == 3 + load.done)
    assert sum(w["requests"] for w in pool["list"]) == 3 + load.done and not load.lost


def of_process(pid):
    """CPU seconds and resident bytes."""
    fields = read("/proc/%d/stat" % pid).rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), \
        int(fields[21]) * os.sysconf("SC_PAGESIZE")


def test_cpu_time_and_size(daemon, gate):
    begin(daemon, daemon.pool(module=APPS + "/module_echo", workers=2))
    with Load(2, lambda rnd: fcgi.get(daemon.sock, noise(rnd, 1 << 20))) as load:
        wait_for(lambda: sum(of_process(p)[0] for p in daemon.workers()) > 0.3)
    assert not load.lost

    def is_true():
        pool = gate.pool()
        return all((w["cpu_seconds"], w["resident_bytes"]) == of_process(w["pid"])
                   for w in pool["list"]) and sum(w["cpu_seconds"] for w in pool["list"]) > 0.3
    wait_for(is_true)


def ss_queue(address):
    """What ss says that waits on a TCP listener, and may."""
    out = subprocess.run(["ss", "-Hltn", "sport = :%s" % address.rpartition(":")[2]],
                         capture_output=True, text=True, check=True).stdout.split()
    return int(out[1]), int(out[2])


def test_full_pool_still_answers(daemon, gate):
    """Every worker is busy, and the queue full: status, metrics and health within 50 ms."""
    address = "127.0.0.1:%d" % free_port()
    begin(daemon, daemon.pool(module=APPS + "/module_echo", workers=2, listen=address,
                              listen_backlog=5))
    held = Held(daemon, address, 2)
    gate.wait_pool(lambda p: p["workers"]["busy"] == 2)
    waiting = []
    while ss_queue(address)[0] <= 5 and len(waiting) < 50:
        waiting.append(fcgi.connect(address, timeout=1))
    pool = gate.wait_pool(lambda p: p["listeners"][0]["queue"] == ss_queue(address)[0])
    assert pool["listeners"] == [{"address": address, "queue": 6, "queue_limit": 5, "queue_high": 6}]
    assert pool["state"] == "serving" and pool["healthy"]
    times = []
    for _ in range(5):
        for path in "/status", "/metrics", "/healthz":
            began = time.monotonic()
            assert gate.get(path).code == 200
            times.append(time.monotonic() - began)
    assert sorted(times)[len(times) // 2] < 0.05, times
    for s in waiting:
        s.close()
    held.let_go()
    pool = gate.wait_pool(lambda p: p["listeners"][0]["queue"] == 0)
    assert pool["listeners"][0]["queue_high"] == 6


def test_queue_of_a_unix_socket(daemon, gate):
    begin(daemon, daemon.pool(module=APPS + "/module_echo", workers=1))
    held = Held(daemon, daemon.sock, 1)
    gate.wait_pool(lambda p: p["workers"]["busy"] == 1)
    waiting = [fcgi.connect(daemon.sock) for _ in range(7)]
    gate.wait_pool(lambda p: p["listeners"][0]["queue"] == 7)
    for s in waiting:
        s.close()
    held.let_go()


def test_program(daemon, gate):
    """What can be seen from outside, and nothing else."""
    begin(daemon, daemon.pool(command=APPS + "/plain", workers=3))
    gate.wait_pool(lambda p: p["workers"]["idle"] == 3)
    with fcgi.Connection(daemon.sock) as c:
        c.sock.sendall(fcgi.message(SLEEP_MS="60000"))
        pool = gate.wait_pool(lambda p: p["workers"]["busy"] == 1)
        busy = [w for w in pool["list"] if w["state"] == "busy"]
        assert [w["connections"] for w in busy] == [1]
        assert sorted(w["connections"] for w in pool["list"]) == [0, 0, 1]
        for w in pool["list"]:
            assert w["requests"] is w["request"] is w["bytes_in"] is None
            assert (w["cpu_seconds"], w["resident_bytes"]) == of_process(w["pid"])
        assert pool["requests"] is None and pool["kind"] == "command"
        assert pool["program"] == APPS + "/plain"
        assert 'preforkd_requests_total{pool="www"}' not in gate.metrics()
        os.kill(busy[0]["pid"], signal.SIGKILL)
    pool = gate.wait_pool(lambda p: p["workers"]["idle"] == 3)
    assert pool["died"]["signal"] == 1 and pool["spawned"] == 4


def test_many_programs_take_turns(daemon, gate):
    """The master looks at 64 of them for one status; the others are as they were seen, or unknown."""
    begin(daemon, daemon.pool(command=APPS + "/plain", workers=100))
    states = [w["state"] for w in gate.pool()["list"]]
    assert states.count("idle") == 64 and states.count(None) == 36
    gate.wait_pool(lambda p: p["workers"]["idle"] == 100)


def test_how_they_died(daemon, gate):
    begin(daemon, daemon.pool(module=APPS + "/module_echo", workers=4, request_timeout="1s",
                              start_timeout="2s"))
    os.kill(daemon.workers()[0], signal.SIGKILL)
    gate.wait_pool(lambda p: p["died"]["signal"] == 1 and p["workers"]["idle"] == 4)
    with pytest.raises((fcgi.Lost, OSError)):
        fcgi.get(daemon.sock, CRASH="1")
    gate.wait_pool(lambda p: p["died"]["signal"] == 2 and p["workers"]["idle"] == 4)
    with fcgi.Connection(daemon.sock) as c:
        c.sock.sendall(fcgi.message(SLEEP_MS="60000"))
        gate.wait_pool(lambda p: p["died"]["timeout"] == 1 and p["workers"]["idle"] == 4)
    assert daemon.reload() == "ok"
    pool = gate.wait_pool(lambda p: p["died"]["retired"] == 4 and p["workers"]["live"] == 4)
    assert pool["died"] == {"exited": 0, "signal": 2, "timeout": 1, "failed_start": 0, "retired": 4}
    assert pool["spawned"] == 4 + 3 + 4 == sum(pool["died"].values()) + pool["workers"]["live"]


def test_backoff(daemon, gate):
    """A program that cannot start any more: it says so, and for how long."""
    flag = daemon.dir + "/flag"
    command = daemon.script("import os, sys\nif os.path.exists(%r): sys.exit(1)\n"
                            "os.execv(%r, ['plain'])\n" % (flag, APPS + "/plain"))
    begin(daemon, daemon.pool(command=command, workers=2))
    gate.wait_pool(lambda p: p["workers"]["idle"] == 2)
    make(flag)
    for pid in daemon.workers():
        os.kill(pid, signal.SIGKILL)
    pool = gate.wait_pool(lambda p: p["state"] == "backoff" and p["workers"]["live"] == 0)
    assert pool["backoff"]["active"] and 0.1 <= pool["backoff"]["delay"] <= 5
    assert 0 <= pool["backoff"]["ends_in"] <= pool["backoff"]["delay"]
    assert not pool["healthy"] and pool["reason"].startswith("back-off: no worker is ready")
    health = gate.get("/healthz")
    assert health.code == 503
    assert re.fullmatch(r"pool www: back-off: no worker is ready, the next try is in \d+ ms\n",
                        health.text()) or "no worker is ready" in health.text()
    assert pool["died"]["failed_start"] >= 1
    assert gate.metrics()['preforkd_backoff_active{pool="www"}'] == 1
    os.unlink(flag)
    pool = gate.wait_pool(lambda p: p["state"] == "serving" and p["workers"]["idle"] == 2)
    assert pool["healthy"] and pool["reason"] == "" and gate.get("/healthz").code == 200
    texts = [e["text"] for e in gate.status()["events"]]
    assert any("next try in" in t for t in texts) and any("back-off ends" in t for t in texts)


def flat(value, path=""):
    """The counters of a status, by path."""
    counters = ("requests", "spawned", "done", "failed", "restarts", "exited", "signal", "timeout",
                "failed_start", "retired", "queue_high")
    if isinstance(value, dict):
        for key, inner in value.items():
            if key != "list":
                yield from flat(inner, path + "/" + key)
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from flat(inner, "%s/%d" % (path, i))
    elif path.rpartition("/")[2] in counters and value is not None:
        yield path, value


def test_counters_never_go_back(daemon, gate):
    """Over deaths, reloads, upgrades and the death of the gate, under load."""
    begin(daemon, daemon.pool(workers=4))
    rnd, stop, went_back, looks = random.Random(7), threading.Event(), [], [0]

    def watch():
        before = {}
        while not stop.is_set():
            try:
                answer = gate.get("/status")
            except OSError:  # the gate was killed
                continue
            assert answer.code == 200, answer.body
            now = dict(flat(answer.json()))
            went_back.extend((k, before[k], v) for k, v in now.items() if v < before.get(k, 0))
            before = now
            looks[0] += 1
    watcher = threading.Thread(target=watch)
    watcher.start()
    deeds = {
        "death": lambda: os.kill(rnd.choice(daemon.workers()), signal.SIGTERM),
        "reload": daemon.reload_well,
        "upgrade": lambda: daemon.upgrade(),
        "gate": lambda: os.kill(gate.status()["gate"]["pid"], signal.SIGKILL)}
    with Load(3, Numbers(daemon.sock)) as load:
        for name in ["death", "reload", "upgrade", "death", "gate", "upgrade", "reload", "death"] * 2:
            deeds[name]()
            seen = looks[0]
            wait_for(lambda: looks[0] > seen + 1 or not watcher.is_alive())
    stop.set()
    watcher.join()
    assert not load.lost and not went_back and looks[0] > 20
    wait_for(lambda: gate.pool()["requests"] == load.done)
    s = gate.status()
    assert (s["reloads"]["done"], s["upgrades"]["done"]) == (4, 4)
    load.request.check()


HOSTILE = ['/<script>alert(1)</script>', '/"quoted\'\\', "/new\nline\r\n", "/tab\tbell\a\x1b[31m",
           "/ünïcödé/\u2028/\U0001f600"]


def test_hostile_uris(daemon, gate):
    """What a client sends appears as text, and nothing else."""
    begin(daemon, daemon.pool(module=APPS + "/module_echo", workers=1))
    for uri in HOSTILE + ["/" + "x" * 64000]:
        held = Held(daemon, daemon.sock, 1, REQUEST_URI=uri, SCRIPT_NAME="")
        pool = gate.wait_pool(lambda p: p["workers"]["busy"] == 1)
        shown = pool["list"][0]["request"]["path"]
        assert uri.startswith(shown) and len(shown) >= min(len(uri), 200)
        raw = gate.get("/status").body
        assert not re.search(rb"[\x00-\x1f]", raw)
        gate.metrics()
        held.let_go()
        gate.wait_pool(lambda p: p["workers"]["busy"] == 0)
    file = daemon.gate()
    with fcgi.Connection(daemon.sock) as c:  # invalid UTF-8: an overlong slash, half a character
        params = fcgi.pairs({"REQUEST_METHOD": "GET", "UNTIL": file})
        for name in b"REQUEST_URI", b"SCRIPT_NAME":
            params += bytes([len(name), 12]) + name + b"/\xc0\xaf\xff\xed\xa0\x80ok\xe2\x82z"
        c.sock.sendall(fcgi.record(fcgi.BEGIN, b"\0\1\0\0\0\0\0\0") + fcgi.record(fcgi.PARAMS, params) +
                       fcgi.record(fcgi.PARAMS) + fcgi.record(fcgi.STDIN))
        pool = gate.wait_pool(lambda p: p["workers"]["busy"] == 1)
        assert pool["list"][0]["request"]["path"] == "/" + "\ufffd" * 6 + "ok" + "\ufffd" * 2 + "z"
        make(file)
        gate.wait_pool(lambda p: p["workers"]["busy"] == 0)


@pytest.mark.parametrize("kind", KINDS)
def test_thousand_workers(daemon, gate, kind):
    """A status of many workers is whole, and not slow."""
    begin(daemon, daemon.pool(workers=1000 if kind == "module" else 200, **KINDS[kind]))
    s = gate.pool()
    assert s["workers"]["live"] == len(s["list"]) == (1000 if kind == "module" else 200)
    times = []
    for _ in range(3):
        began = time.monotonic()
        gate.status()
        times.append(time.monotonic() - began)
        seen = gate.status()["now"]
        wait_for(lambda: gate.status()["now"] > seen)
    print("status of many workers: %.1f ms" % (1000 * sorted(times)[1]))
    assert sorted(times)[1] < 0.2


def test_figures_of_requests(daemon, gate):
    """Times, bytes and connections are those of the clients, and outlive the workers."""
    begin(daemon, daemon.pool(module=APPS + "/module_echo", workers=2))
    for _ in range(20):
        assert fcgi.get(daemon.sock, b"x" * 1000, SLEEP_MS="5").endswith(b"x" * 1000)
    pool = gate.wait_pool(lambda p: p["requests"] == 20)
    assert 20 * 1000 < pool["bytes_in"] < 20 * 2000 and 20 * 1000 < pool["bytes_out"] < 20 * 2000
    latency = pool["latency"]
    counts = {b["le"]: b["count"] for b in latency["buckets"]}
    assert latency["count"] == counts[None] == 20 and counts[0.0025] == 0
    assert list(counts.values()) == sorted(counts.values())
    assert 20 * 0.005 <= latency["sum"] < 20
    worked = [w for w in pool["list"] if w["requests"]]
    assert all(0.005 <= w["last_seconds"] <= w["total_seconds"] for w in worked)
    for key in "bytes_in", "bytes_out":
        assert sum(w[key] for w in pool["list"]) == pool[key]
    assert sum(w["total_seconds"] for w in pool["list"]) == pytest.approx(latency["sum"])
    with fcgi.Connection(daemon.sock) as c:
        c.request(b"a", keep=True)
        gate.wait_pool(lambda p: sum(w["connections"] for w in p["list"]) == 1)
        assert gate.pool()["workers"]["idle"] == 2
    gate.wait_pool(lambda p: sum(w["connections"] for w in p["list"]) == 0)
    before = gate.pool()
    os.kill(daemon.workers()[0], signal.SIGKILL)
    daemon.wait_log("killed by SIGKILL")
    assert daemon.reload() == "ok"
    after = gate.wait_pool(lambda p: p["workers"] == before["workers"])
    assert [after[k] for k in ("requests", "bytes_in", "bytes_out", "latency")] == \
        [before[k] for k in ("requests", "bytes_in", "bytes_out", "latency")]
