"""A module that writes over everything it can reach: what it says of itself is its own affair, and all
else stays as it is."""

import json
import re
import struct
import threading

import pytest

import fcgi
from daemon import APPS, read, wait_for
from gate import Gate
from load import Load, Numbers

PATTERNS = ["zeros", "ones", "counting", "random"]
PID = re.compile(rb"X-Pid: (\d+)\r")
COUNTER = re.compile(r"_(?:total|bucket|count|sum)(?:\{|$)")


class Watcher:
    """Looks at all that the gate says, and holds it to what must be so whatever a worker does."""

    def __init__(self, gate):
        self.gate = gate
        self.counters = {}
        first = gate.status()
        self.gate_pid, self.pid = first["gate"]["pid"], first["pid"]

    def look(self):
        answer = self.gate.get("/status")
        assert answer.code == 200
        status = json.loads(answer.body.decode("utf-8", "strict"), parse_constant=pytest.fail)
        assert (status["pid"], status["gate"]) == (self.pid, {"pid": self.gate_pid, "restarts": 0})
        now = {name: value for name, value in self.gate.metrics().items() if COUNTER.search(name)}
        back = {name: (old, now.get(name)) for name, old in self.counters.items()
                if now.get(name, -1) < old}
        assert not back, back
        self.counters = now
        return status


class Honest:
    """Requests to the module; counts the answers of each process, and their bytes."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.answers, self.sent = {}, {}
        self.lock = threading.Lock()

    def ask(self, rnd=None, **params):
        """One more answer; that of a worker that scribbles may be spoiled."""
        try:
            answer = fcgi.get(self.daemon.sock, timeout=10, **params)
            pid = int(PID.search(answer).group(1))
        except (fcgi.Lost, OSError, AttributeError, ValueError, struct.error):
            return
        with self.lock:
            self.answers[pid] = self.answers.get(pid, 0) + 1
            self.sent[pid] = self.sent.get(pid, 0) + len(answer)

    def ask_everyone(self, count):
        """Until so many workers have answered: who answers is not for the client to choose."""
        with Load(count, lambda rnd: self.ask(SLEEP_MS="5")):
            wait_for(lambda: len(self.answers) >= count)

    def make_hostile(self, **params):
        """Returns its pid; what it sends after that is rubbish."""
        data = b""
        with fcgi.connect(self.daemon.sock) as s:
            s.sendall(fcgi.message(**params))
            while not PID.search(data):
                got = s.recv(4096)
                assert got, data
                data += got
        return int(PID.search(data).group(1))


def begin(daemon, **keys):
    address = daemon.dir + "/good.sock"
    daemon.write(daemon.pool(module=APPS + "/module_hostile", **{"workers": 3, **keys}),
                 daemon.pool("good", listen=address, listen_mode="0666", workers=2),
                 control=daemon.dir + "/control.sock")
    daemon.start()
    return Gate(daemon), address


def check_siblings(watcher, honest, hostile):
    """Those of its pool that are honest: each has answered what it has answered."""
    honest_pids = set(honest.answers) - {hostile}
    assert len(honest_pids) == 2

    def is_right():
        www = next(p for p in watcher.look()["pools"] if p["name"] == "www")
        found = {w["pid"]: (w["requests"], w["bytes_out"], w["connections"], w["state"])
                 for w in www["list"] if w["pid"] in honest_pids}
        return found == {p: (honest.answers[p], honest.sent[p], 0, "idle") for p in honest_pids}
    wait_for(is_right, why="the figures of its siblings")


@pytest.mark.parametrize("pattern", PATTERNS)
def test_module_that_scribbles(daemon, pattern):
    """The master, the gate, its siblings and another pool: right all the time, while it goes on."""
    gate, address = begin(daemon)
    watcher, honest, numbers = Watcher(gate), Honest(daemon), Numbers(address)
    honest.ask_everyone(3)
    hostile = honest.make_hostile(WITH=pattern)
    with Load(1, numbers) as load:
        for _ in range(60):
            watcher.look()
            honest.ask()
    assert not load.lost, load.lost[:3]
    numbers.check()
    if hostile in daemon.workers():
        check_siblings(watcher, honest, hostile)
    good = gate.wait_pool(lambda p: p["requests"] >= len(numbers.seen), "good")
    assert good["requests"] == good["latency"]["count"] == len(numbers.seen)
    assert sum(w["requests"] for w in good["list"]) == len(numbers.seen)
    assert daemon.reload() == "ok"
    wait_for(lambda: hostile not in daemon.workers())
    watcher.look()
    assert all(watcher.gate.pool(name)["healthy"] for name in ("www", "good"))
    log = read(daemon.log)
    assert re.fullmatch(r"[\t\n -~]*", log), "raw bytes in the log"


def test_scribbled_figures_outlive_an_upgrade(daemon):
    """And the worker's death: no counter goes back, and those of others are right."""
    gate, address = begin(daemon)
    watcher = Watcher(gate)
    for _ in range(5):
        fcgi.number(address)
    Honest(daemon).make_hostile(WITH="random")
    watcher.look()
    assert daemon.upgrade() == "ok"
    watcher.gate_pid = wait_for(lambda: gate.status()["gate"]["pid"])
    assert next(p for p in watcher.look()["pools"] if p["name"] == "good")["requests"] == 5
    assert fcgi.number(address) == 6


def test_module_that_spoils_its_own_memory(daemon):
    """It dies of it, alone."""
    gate, address = begin(daemon, workers=2)
    watcher = Watcher(gate)
    for pattern in PATTERNS:
        before = set(daemon.workers())
        Honest(daemon).make_hostile(WITH=pattern, CRASH="1")
        wait_for(lambda before=before: len(set(daemon.workers()) & before) == 3 and
                 len(daemon.workers()) == 4)
        assert watcher.look()["state"] == "serving"
        assert fcgi.number(address) > 0
    www = gate.wait_pool(lambda p: sum(p["died"].values()) == len(PATTERNS))
    assert www["healthy"], www
