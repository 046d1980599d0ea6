"""Workers, clients and circumstances that mean no good: what they can and cannot do."""

import fcntl
import os
import pty
import resource
import signal
import socket
import subprocess
import sys
import time

import pytest

import fcgi
from daemon import BINARY, alive, children, free_port, read, status, wait_for

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

SHUTS_DOWN = """
import socket, time
s = socket.socket(fileno=0)
c, _ = s.accept()
s.shutdown(socket.SHUT_RDWR)
c.close()
time.sleep(600)
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


def script(daemon, text):
    path = os.path.join(daemon.dir, "program.py")
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    return "%s %s" % (sys.executable, path)


def cpu(pid):
    """Seconds of processor time of a process."""
    fields = read("/proc/%d/stat" % pid).rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_program_that_leaves_its_group_is_killed_all_the_same(daemon):
    daemon.write(daemon.pool(command=script(daemon, IMMORTAL), workers=1, stop_timeout="300ms"))
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
                                            command=script(daemon, dies), start_timeout="1s"))
    before = daemon.workers("www")
    result = daemon.reload()
    if result != "ok":  # all sixty may be ready at one moment on a fast machine
        assert "ready" in result
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


@pytest.mark.parametrize("family", ["unix", "tcp"])
def test_listener_that_a_worker_shut_down_comes_back(daemon, family):
    address = daemon.sock if family == "unix" else "127.0.0.1:%d" % free_port()
    daemon.write(daemon.pool(listen=address, listen_mode="0666", command=script(daemon, SHUTS_DOWN),
                             workers=1))
    daemon.start()
    fcgi.connect(address).close()

    def is_dead():
        try:
            fcgi.connect(address, timeout=1).close()
            return False
        except OSError:
            return True
    wait_for(is_dead)
    daemon.write(daemon.pool(listen=address, listen_mode="0666", command=script(daemon, NON_BLOCKING),
                             workers=1, stop_timeout="300ms"))
    assert daemon.reload() == "ok"
    assert "was shut down by one of its workers" in daemon.read_log()
    fcgi.connect(address, timeout=5).close()


def test_program_that_makes_the_listener_non_blocking(daemon, apps):
    """The next generation may be one that cannot live with it."""
    daemon.write(daemon.pool(command=script(daemon, NON_BLOCKING), workers=1, stop_timeout="300ms"))
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


def test_terminal_that_stands_still_does_not_stop_the_master(daemon):
    """Ctrl-S in the terminal of preforkd -F: workers are still replaced."""
    master, slave = pty.openpty()
    daemon.write(daemon.pool(workers=2))
    p = subprocess.Popen([BINARY, "-F", "-c", daemon.conf], stderr=slave, stdin=slave,
                         env=daemon.environment())
    daemon.process, daemon.pid = p, p.pid
    wait_for(lambda: len(daemon.workers("www")) == 2 and os.path.exists(daemon.pidfile))
    assert fcgi.number(daemon.sock) == 1
    import termios
    termios.tcflow(slave, termios.TCOOFF)
    for _ in range(30):
        before = set(daemon.workers())
        os.kill(min(before), signal.SIGKILL)
        wait_for(lambda: len(daemon.workers()) == 2 and set(daemon.workers()) != before)
    termios.tcflow(slave, termios.TCOON)
    daemon.end()
    os.close(master)
    os.close(slave)


def test_reader_of_stderr_that_sleeps_does_not_stop_the_master(daemon):
    """A supervisor's pipe that is full."""
    r, w = os.pipe()
    daemon.write(daemon.pool(workers=2))
    p = subprocess.Popen([BINARY, "-F", "-c", daemon.conf], stderr=w, env=daemon.environment())
    daemon.process, daemon.pid = p, p.pid
    wait_for(lambda: os.path.exists(daemon.pidfile) and len(daemon.workers("www")) == 2)
    os.set_blocking(w, False)
    try:
        while True:
            os.write(w, b"x" * 4096)
    except BlockingIOError:
        pass
    for _ in range(10):
        before = set(daemon.workers())
        os.kill(min(before), signal.SIGKILL)
        wait_for(lambda: len(daemon.workers()) == 2 and set(daemon.workers()) != before)
    daemon.end()
    os.close(r)
    os.close(w)


@pytest.mark.root
def test_syslogd_that_does_not_read_does_not_stop_the_master(daemon):
    """Its socket is full: lines are lost, workers are not."""
    if os.path.exists("/dev/log"):
        pytest.skip("there is a syslogd")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind("/dev/log")
        try:
            daemon.write(daemon.pool(workers=2), log="syslog")
            daemon.start()
            assert b"preforkd[%d]: serving with 2 workers" % daemon.pid in s.recv(4096)
            for _ in range(1000):
                daemon.send(signal.SIGUSR1)
            wait_for(lambda: daemon.reload() == "ok")
            before = set(daemon.workers())
            for pid in before:
                os.kill(pid, signal.SIGKILL)
            wait_for(lambda: len(set(daemon.workers()) - before) == 2)
            daemon.end()
        finally:
            os.unlink("/dev/log")


def test_start_command_can_be_interrupted(daemon):
    """Ctrl-C while it waits: the command ends, and the start goes on."""
    daemon.write(daemon.pool(command="/bin/sh -c 'sleep 1; exec sleep 1000'", start_timeout="60s"))
    p = subprocess.Popen([BINARY, "-c", daemon.conf], env=daemon.environment())
    wait_for(lambda: read(daemon.pidfile))
    p.send_signal(signal.SIGINT)
    assert p.wait(timeout=20) == -signal.SIGINT
    daemon.pid = int(read(daemon.pidfile))
    daemon.end()
