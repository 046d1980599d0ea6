"""A gate that is in the hands of somebody else: what it says and does to what it shares with the
master costs its life, and nothing else. It is stopped, and the test speaks in its place."""

import fcntl
import os
import signal
import socket
import struct
import time

import pytest

import fcgi
from daemon import alive, children, free_port, read, sockets, title, wait_for
from gate import Gate

VERBS = "SNAPSHOT RELOAD RELOAD_POOL REOPEN SCALE STOP UPGRADE DRAIN UNDRAIN".split()
DONE, FAILED = 0, 3

pytestmark = pytest.mark.root  # only root can take the descriptors of another process


def gate_pid(daemon):
    pids = [p for p in children(daemon.pid) if title(p).startswith("preforkd: gate")]
    return pids[0] if len(pids) == 1 else None


class Taken:
    """A gate that does nothing by itself any more, and its end of the line to the master."""

    def __init__(self, daemon):
        self.pid = gate_pid(daemon)
        os.kill(self.pid, signal.SIGSTOP)
        found = sockets(self.pid).values()
        self.line, = (s for s in found if s.type == socket.SOCK_SEQPACKET)
        self.listeners = [s for s in found if s.type == socket.SOCK_STREAM and
                          s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)]
        self.id = 0
        self.line.settimeout(30)

    def say(self, verb, pool=b"", number=0):
        self.id += 1
        self.line.send(struct.pack("<QII40s", self.id, VERBS.index(verb), number, pool))

    def hear(self):
        """(status, text, id) of the next answer."""
        answer = self.line.recv(1024)
        id_, status = struct.unpack_from("<QI", answer)
        return status, answer[16:].partition(b"\0")[0].decode(), id_

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)


@pytest.fixture
def gate(daemon):
    daemon.write(daemon.pool(workers=2), control=daemon.dir + "/control.sock")
    daemon.start()
    assert Gate(daemon).get("/healthz").code == 200
    return Gate(daemon)


def ticks(pid):
    """The time that a process has computed, in hundredths of a second."""
    return sum(map(int, read("/proc/%d/stat" % pid).rpartition(")")[2].split()[11:13]))


def test_line_that_is_closed(daemon, gate):
    """Without a line it is of no use, and another one takes its place."""
    for end in (lambda s: s.send(b""), lambda s: s.shutdown(socket.SHUT_WR)):
        taken = Taken(daemon)
        end(taken.line)
        wait_for(lambda: not alive(taken.pid), 10, "its end")
        wait_for(lambda: gate_pid(daemon) not in (None, taken.pid))
        assert gate.get("/healthz").code == 200


@pytest.mark.parametrize("harm", ["shutdown", "block"])
def test_listeners_that_are_spoiled(daemon, harm):
    """The next gate finds them as they should be."""
    gate = Gate(daemon)
    http = Gate(daemon, free_port())
    daemon.write(daemon.pool(), control=gate.path, http="127.0.0.1:%d" % http.port)
    daemon.start()
    assert gate.get("/healthz").code == http.get("/healthz").code == 200
    before = os.stat(gate.path)
    taken = Taken(daemon)
    assert len(taken.listeners) == 2
    for s in taken.listeners:
        if harm == "shutdown":
            s.shutdown(socket.SHUT_RDWR)
        else:
            fcntl.fcntl(s, fcntl.F_SETFL, fcntl.fcntl(s, fcntl.F_GETFL) & ~os.O_NONBLOCK)
        s.close()
    taken.kill()
    wait_for(lambda: gate_pid(daemon) not in (None, taken.pid))
    for _ in range(3):
        assert gate.get("/healthz").code == http.get("/healthz").code == 200
    after = os.stat(gate.path)
    assert (after.st_mode, after.st_uid, after.st_gid) == \
        (before.st_mode, before.st_uid, before.st_gid)
    assert daemon.upgrade() == "ok"  # the socket that was opened anew goes along
    assert gate.get("/healthz").code == 200


def test_commands_without_end(daemon, gate):
    """They are taken slowly, and so the log grows slowly."""
    taken = Taken(daemon)
    size = os.path.getsize(daemon.log)
    seconds = 2
    taken.line.setblocking(False)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            taken.say("DRAIN", b"www")
        except BlockingIOError:
            pass
        try:
            while True:
                taken.line.recv(1024)
        except BlockingIOError:
            pass
    assert 0 < os.path.getsize(daemon.log) - size < seconds * 60000
    taken.kill()


def test_scale_up_and_down(daemon, gate):
    """The master is not held up: it computes for a moment, not for a second."""
    taken = Taken(daemon)
    before = ticks(daemon.pid)
    os.kill(daemon.pid, signal.SIGSTOP)  # so that it takes them in one turn, and starts none
    for _ in range(3):
        taken.say("SCALE", b"www", 10000)
        taken.say("SCALE", b"www", 1)
    os.kill(daemon.pid, signal.SIGCONT)
    statuses = [taken.hear()[0] for _ in range(6)]
    assert ticks(daemon.pid) - before < 15
    assert statuses.count(DONE) >= 1
    taken.kill()
    assert fcgi.number(daemon.sock) > 0


def test_gate_that_stays_after_upgrades(daemon, gate):
    """One that was relieved is seen to its end, although the next upgrade comes before that."""
    taken = Taken(daemon)
    assert daemon.upgrade() == "ok"
    before = daemon.result()[0]
    taken.say("UPGRADE")
    wait_for(lambda: daemon.result()[0] > before and daemon.result()[1] == "ok")
    assert alive(taken.pid)
    wait_for(lambda: not alive(taken.pid), 10, "the end of the first gate")
    wait_for(lambda: gate_pid(daemon) is not None)
    assert gate.get("/healthz").code == 200


SLOW = """import socket, time
time.sleep(0.2)
with socket.socket(fileno=0) as s:
    s.accept()
"""


def test_gate_that_always_wants_something(daemon):
    """After it was relieved, what it still asks for does not make it stay."""
    gate = Gate(daemon)
    daemon.write(daemon.pool(workers=1, command=daemon.script(SLOW)), control=gate.path)
    daemon.start()
    assert gate.get("/healthz").code == 200
    taken = Taken(daemon)
    assert daemon.upgrade() == "ok"
    taken.line.setblocking(False)

    open_ = set()

    def wants_more():
        try:
            if len(open_) < 8:  # one by one: some begin while others end
                taken.say("RELOAD_POOL", b"www")
                open_.add(taken.id)
            while True:
                open_.discard(taken.hear()[2])
        except BlockingIOError:
            pass
        except (OSError, struct.error):  # nobody listens any more
            open_.update(range(8))
        return not alive(taken.pid)

    wait_for(wants_more, 10, "its end")
    assert gate.get("/healthz").code == 200
