"""Workers, clients and circumstances that mean no good: what they can and cannot do."""

import ctypes
import fcntl
import os
import re
import resource
import signal
import socket
import struct
import subprocess
import time

import pytest

import fcgi
from daemon import (BINARY, alive, children, duplicate, free_port, processes_of, read, sockets,
                    status, title, wait_for)

# Leaves its process group for that of the master, and lets a child of its own stay there.
IMMORTAL = """
import os, signal, socket, time
for s in (signal.SIGTERM, signal.SIGINT):
    signal.signal(s, signal.SIG_IGN)
if os.fork() == 0:
    time.sleep(600)
os.setpgid(0, os.getpgid(os.getppid()))
socket.socket(fileno=0).accept()
time.sleep(600)
"""

# Serves, until it is told to shut down the listener; then it sleeps.
SHUTS_DOWN = """
import socket, time
s = socket.socket(fileno=0)
while True:
    c, _ = s.accept()
    if c.recv(100) == b"shutdown":
        s.shutdown(socket.SHUT_RDWR)
        c.close()
        time.sleep(600)
    c.sendall(b"served")
    c.close()
"""

# Leaves a process in a session of its own behind that has the listener.
KEEPS = """
import os, socket, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(600)
    os._exit(0)
os.wait()
s = socket.socket(fileno=0)
while True:
    c, _ = s.accept()
    c.recv(100)
    c.sendall(b"served")
    c.close()
"""

DEAF = """
import signal, socket
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
s = socket.socket(fileno=0)
while True:
    s.accept()
"""

NON_BLOCKING = """
import os, select, socket
s = socket.socket(fileno=0)
s.setblocking(False)
while True:
    select.select([s], [], [])
    try:
        c, _ = s.accept()
        c.close()
    except BlockingIOError:
        pass
"""


def cpu(pid):
    """Seconds of processor time of a process."""
    fields = read("/proc/%d/stat" % pid).rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_program_that_leaves_its_group_is_killed_all_the_same(daemon):
    daemon.write(daemon.pool(command=daemon.script(IMMORTAL), workers=1, stop_timeout="300ms"))
    daemon.start()
    worker = daemon.workers()[0]
    daemon.end()
    assert not alive(worker)


def test_workers_killed_before_they_are_ready_fail_the_reload(daemon):
    """The kernel out of memory at a deploy: the reload ends, and the next one works."""
    daemon.write(daemon.pool())
    daemon.start()
    daemon.write(daemon.pool("two", listen=daemon.dir + "/two.sock",
                             command="/bin/sh -c 'kill -9 $$'"), daemon.pool())
    result = daemon.reload()
    assert result.startswith("failed") and "killed by SIGKILL before it was ready" in result
    daemon.write(daemon.pool())
    assert daemon.reload() == "ok"


def test_reload_that_cannot_end_is_ended(daemon):
    """Workers that are ready and then die, each time, before all are ready."""
    daemon.write(daemon.pool())
    daemon.start()
    dies = "import os, signal, socket, threading, time\n" \
           "threading.Thread(target=lambda: (time.sleep(0.3), os.kill(os.getpid(), 11))).start()\n" \
           "socket.socket(fileno=0).accept()\n"
    daemon.write(daemon.pool(), daemon.pool("two", listen=daemon.dir + "/two.sock", workers=60,
                                            command=daemon.script(dies), start_timeout="1s"))
    before = daemon.workers("www")
    result = daemon.reload()
    if result != "ok":  # all sixty may be ready at one moment on a fast machine
        assert "ready" in result
        wait_for(lambda: len(daemon.workers("www")) == len(before))  # those of the reload are gone
        assert daemon.workers("www") == before


@pytest.mark.quick
def test_late_end_of_an_empty_body(daemon):
    """A kept connection whose client sends each record by itself, as mod_proxy_fcgi does."""
    daemon.write(daemon.pool())
    daemon.start()
    head = fcgi.record(fcgi.BEGIN, b"\0\1\1\0\0\0\0\0")
    params = fcgi.record(fcgi.PARAMS, fcgi.pairs({"REQUEST_METHOD": "GET"})) + fcgi.record(fcgi.PARAMS)
    with fcgi.Connection(daemon.sock) as c:
        for _ in range(200):
            c.sock.setblocking(True)
            for part in (head, params, fcgi.record(fcgi.STDIN)):
                c.sock.sendall(part)
                time.sleep(0.0005)
            while True:
                kinds = [kind for kind, _ in c._records()]
                if fcgi.END in kinds:
                    break
                got = c.sock.recv(65536)
                assert got, "closed"
                c.data += got


def test_no_descriptors_left_in_a_worker(daemon):
    """More silent connections than descriptors: no spinning, and others are served."""
    daemon.write(daemon.pool(limit_nofile=40, workers=1))
    daemon.start()
    silent = [fcgi.connect(daemon.sock) for _ in range(60)]
    assert fcgi.number(daemon.sock) == 1
    worker = daemon.workers()[0]
    before = cpu(worker)
    time.sleep(1)  # the time is what is measured
    assert cpu(worker) - before < 0.3
    for s in silent:
        s.close()
    assert fcgi.number(daemon.sock) == 2


def address_of(daemon, family):
    return daemon.sock if family == "unix" else "127.0.0.1:%d" % free_port()


def listeners(pid):
    """Duplicates of the listening sockets of a process."""
    found = []
    for s in sockets(pid).values():
        if s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            found.append(s)
        else:
            s.close()
    return found


def says(address, text):
    """What a program answers that is sent a few bytes and closes; empty: nothing."""
    try:
        with fcgi.connect(address, timeout=5) as s:
            s.sendall(text)
            return s.recv(100)
    except OSError:
        return b""


@pytest.mark.parametrize("family", ["unix", "tcp"])
def test_listener_that_a_worker_shut_down_comes_back(daemon, family):
    """At once, at the same address, for new workers; and the log says who it was."""
    address = address_of(daemon, family)
    daemon.write(daemon.pool(listen=address, listen_mode="0666", command=daemon.script(SHUTS_DOWN),
                             workers=1))
    daemon.start()
    before = daemon.workers()
    assert says(address, b"hello") == b"served"
    assert says(address, b"shutdown") == b""
    wait_for(lambda: says(address, b"hello") == b"served")
    wait_for(lambda: not set(before) & set(daemon.workers()))
    assert "was shut down by worker %d; opened anew" % before[0] in daemon.read_log()
    assert says(address, b"shutdown") == b""  # and again
    wait_for(lambda: says(address, b"hello") == b"served")
    assert daemon.read_log().count("opened anew") == 2
    assert daemon.reload() == "ok"
    assert says(address, b"hello") == b"served"


@pytest.mark.root
@pytest.mark.parametrize("family", ["unix", "tcp"])
@pytest.mark.parametrize("kind", ["app", "program"])
def test_listener_shut_down_while_all_rest(daemon, apps, family, kind):
    """Nobody dies of it, nobody reloads: it is noticed all the same, and all are replaced."""
    address = address_of(daemon, family)
    keys = {"app": "counter"} if kind == "app" else {"command": apps + "/plain"}
    daemon.write(daemon.pool(listen=address, listen_mode="0666", workers=3, **keys))
    daemon.start()
    assert fcgi.get(address)
    before = daemon.workers()
    for s in listeners(daemon.pid):
        s.shutdown(socket.SHUT_RDWR)
        s.close()
    daemon.wait_log("was shut down by one of its workers")
    wait_for(lambda: not set(before) & set(daemon.workers()))
    daemon.wait_workers(3)
    for _ in range(20):
        assert fcgi.get(address)


@pytest.mark.root
def test_listener_made_non_blocking_by_somebody(daemon, apps):
    """Programs that cannot live with it get a blocking one again."""
    daemon.write(daemon.pool(command=apps + "/plain", workers=2))
    daemon.start()
    shared = listeners(daemon.pid)[0]
    shared.setblocking(False)

    def ask():
        try:
            fcgi.get(daemon.sock)
        except (OSError, fcgi.Lost):
            pass
        return "was made non-blocking by" in daemon.read_log()
    wait_for(ask)
    wait_for(lambda: os.get_blocking(shared.fileno()))
    shared.close()
    wait_for(lambda: len(daemon.workers()) == 2)
    for _ in range(10):
        assert fcgi.get(daemon.sock)


@pytest.mark.root
def test_listener_that_is_non_blocking_on_purpose_stays_so(daemon, apps):
    """A program with an event loop would block beside the connections that it has."""
    daemon.write(daemon.pool(command=apps + "/events", workers=3))
    daemon.start()
    shared = listeners(daemon.pid)[0]
    wait_for(lambda: not os.get_blocking(shared.fileno()))
    for _ in range(3):
        before = daemon.workers()
        os.kill(before[0], signal.SIGKILL)
        wait_for(lambda: len(daemon.workers()) == 3 and set(before) != set(daemon.workers()))
        assert not os.get_blocking(shared.fileno())
    assert daemon.reload() == "ok"
    assert not os.get_blocking(shared.fileno())
    assert "put right" not in daemon.read_log()
    shared.close()


@pytest.mark.root
def test_nobody_puts_a_packet_filter_on_a_listener(daemon):
    """It would be for all who share it."""
    address = address_of(daemon, "tcp")
    daemon.write(daemon.pool(listen=address))
    daemon.start()
    shared = listeners(daemon.pid)[0]
    drop = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0))  # BPF_RET 0
    program = struct.pack("HxxxxxxQ", 1, ctypes.addressof(drop))
    with pytest.raises(PermissionError):
        shared.setsockopt(socket.SOL_SOCKET, 26, program)  # SO_ATTACH_FILTER
    shared.close()
    assert fcgi.number(address) == 1


@pytest.mark.root
def test_bell_that_a_worker_empties_under_the_hands_of_the_master(daemon):
    """It is made blocking, rung, and emptied when the master is about to read it."""
    daemon.write(daemon.pool(workers=1, request_timeout="10s"))
    daemon.start()
    worker = daemon.workers()[0]
    number, = (int(n) for n in os.listdir("/proc/%d/fd" % worker)
               if os.readlink("/proc/%d/fd/%s" % (worker, n)) == "anon_inode:[eventfd]")
    bell, rounds = duplicate(worker, number), 400
    os.set_blocking(bell, True)
    for n in range(rounds):
        os.eventfd_write(bell, 1)
        end = time.perf_counter() + n * 150e-6 / rounds
        while time.perf_counter() < end:
            pass
        try:
            os.preadv(bell, [bytearray(8)], -1, os.RWF_NOWAIT)
        except BlockingIOError:
            pass  # the master was first
        time.sleep(0.007)  # then it listens again
        call = read("/proc/%d/syscall" % daemon.pid).split()
        assert call[0] == "running" or call[1] != hex(number), "the master waits for the bell"
    os.close(bell)
    assert fcgi.number(daemon.sock) == 1


@pytest.mark.parametrize("family", ["unix", "tcp"])
def test_grandchild_that_keeps_the_listener(daemon, family):
    """It has left the session: the pool works, a stop ends, and a new start works or says who it is."""
    address = address_of(daemon, family)
    daemon.write(daemon.pool(listen=address, listen_mode="0666", command=daemon.script(KEEPS),
                             workers=2, stop_timeout="20s"))
    daemon.start()
    for _ in range(5):
        assert says(address, b"hello") == b"served"
    began = time.monotonic()
    assert daemon.reload() == "ok"
    daemon.end()
    assert time.monotonic() - began < 10
    left = [p for p in processes_of(daemon.dir) if "program.py" in title(p)]
    assert left
    try:
        done = daemon.run("-c", daemon.conf)
        if family == "unix":
            assert done.returncode == 0, done.stderr
            daemon.pid = int(read(daemon.pidfile))
            assert says(address, b"hello") == b"served"
            daemon.end()
        else:
            assert done.returncode == 69
            m = re.search(r"in use by process (\d+) \((.*?)\)", done.stderr)
            assert m and int(m.group(1)) in left and m.group(2) == read("/proc/%s/comm" % m.group(1)).strip()
    finally:
        for pid in processes_of(daemon.dir):
            os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not processes_of(daemon.dir))
    daemon.start()
    assert says(address, b"hello") == b"served"
    daemon.end()
    for pid in processes_of(daemon.dir):
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("how", ["stopped", "blocks every signal", "stopped and blocks every signal"])
def test_worker_that_does_not_hear_goes_by_the_ladder(daemon, how):
    daemon.write(daemon.pool(command=daemon.script(DEAF if "blocks" in how else SHUTS_DOWN), workers=2,
                             stop_timeout="500ms"))
    daemon.start()
    for round in ("reload", "stop"):
        before = daemon.workers()
        if "stopped" in how:
            for pid in before:
                os.kill(pid, signal.SIGSTOP)
                wait_for(lambda: status(pid, "State")[:1] == "T")
        began = time.monotonic()
        if round == "stop":
            daemon.end()
        else:
            assert daemon.reload() == "ok"
        wait_for(lambda: not any(alive(p) for p in before))
        assert time.monotonic() - began < 5
    assert ("did not stop within" in daemon.read_log()) == ("blocks" in how)


def test_program_that_makes_the_listener_non_blocking(daemon, apps):
    """The next generation may be one that cannot live with it."""
    daemon.write(daemon.pool(command=daemon.script(NON_BLOCKING), workers=1, stop_timeout="300ms"))
    daemon.start()
    daemon.write(daemon.pool(command=apps + "/plain", workers=1))
    assert daemon.reload() == "ok"
    wait_for(lambda: b"Content-Type" in fcgi.get(daemon.sock))


@pytest.mark.root
def test_ambient_capabilities_stay_with_the_master(daemon, apps):
    """As systemd's AmbientCapabilities with User= gives them."""
    os.chmod(daemon.dir, 0o777)
    with open(daemon.log, "w", encoding="utf-8") as log:
        p = subprocess.Popen(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
                              "--inh-caps", "+net_bind_service", "--ambient-caps", "+net_bind_service",
                              BINARY, "-F", "-l", daemon.sock, "--", apps + "/plain"],
                             stderr=log, env=daemon.environment())
    daemon.process, daemon.pid = p, p.pid
    daemon.wait_log("serving with")
    assert int(status(p.pid, "CapEff"), 16) != 0
    for worker in children(p.pid):
        for kind in ("CapEff", "CapPrm", "CapInh", "CapAmb"):
            assert int(status(worker, kind), 16) == 0, kind
    daemon.end()
    os.chmod(daemon.dir, 0o755)


@pytest.mark.quick
def test_inherited_descriptors_are_closed(daemon):
    """Whoever waits for the end of a pipe, or for a lock, does not wait for the daemon."""
    daemon.write(daemon.pool())
    r, w = os.pipe()
    lock = os.open(daemon.dir + "/lock", os.O_CREAT | os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    daemon.start(pass_fds=(w, lock))
    os.close(w)
    os.close(lock)
    assert os.read(r, 1) == b""
    os.close(r)
    other = os.open(daemon.dir + "/lock", os.O_RDWR)
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(other)


def test_file_size_limit_does_not_end_the_daemon(daemon):
    """A log at its limit stays as it is; the service goes on."""
    daemon.write(daemon.pool())
    daemon.start(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (300000, 300000)))
    with open(daemon.log, "a", encoding="utf-8") as f:
        f.write("x" * 299900)
    for _ in range(5):
        assert daemon.reload() == "ok"
    assert fcgi.get(daemon.sock)
    assert os.path.getsize(daemon.log) <= 300000


def test_start_command_can_be_interrupted(daemon):
    """Ctrl-C while it waits: the command ends, and the start goes on."""
    daemon.write(daemon.pool(command="/bin/sh -c 'sleep 1; exec sleep 1000'", start_timeout="60s"))
    p = subprocess.Popen([BINARY, "-c", daemon.conf], env=daemon.environment())
    wait_for(lambda: read(daemon.pidfile))
    p.send_signal(signal.SIGINT)
    assert p.wait(timeout=20) == -signal.SIGINT
    daemon.pid = int(read(daemon.pidfile))
    daemon.end()
