"""The gate as a process: who it is, who may talk to it, that it comes back, and costs nothing."""

import errno
import grp
import os
import pwd
import re
import signal
import socket
import stat
import subprocess
import time

import pytest

import fcgi
from daemon import alive, children, free_port, open_files, read, status, title, wait_for
from gate import Gate
from load import Load, Numbers


def gate_pid(daemon):
    pids = [p for p in children(daemon.pid) if title(p).startswith("preforkd: gate")]
    return pids[0] if len(pids) == 1 else None


@pytest.fixture
def gate(daemon):
    """A daemon with one pool and a control socket."""
    daemon.write(daemon.pool(workers=2), control=daemon.dir + "/control.sock")
    daemon.start()
    assert Gate(daemon).get("/healthz").code == 200
    return Gate(daemon)


@pytest.mark.quick
def test_answers(daemon):
    port = free_port()
    daemon.write(daemon.pool(), control=daemon.dir + "/control.sock", http="127.0.0.1:%d" % port)
    daemon.start()
    for gate in Gate(daemon), Gate(daemon, port):
        answer = gate.get("/healthz")
        assert (answer.code, answer.body) == (200, b"ok\n")
        assert gate.status()["pid"] == daemon.pid
        assert gate.get("/status").headers["Content-Type"] == "application/json"
        head = gate.ask("HEAD", "/status")
        assert (head.code, head.body) == (200, b"") and int(head.headers["Content-Length"]) > 100
        assert gate.get("/nowhere").code == 404
        wrong = gate.ask("DELETE", "/status")
        assert wrong.code == 405 and wrong.headers["Allow"] == "GET, HEAD"
    assert Gate(daemon).get("/reload").headers["Allow"] == "POST"
    assert Gate(daemon, port).ask("POST", "/reload").code == 403
    assert Gate(daemon, port).ask("POST", "/status").code == 405
    assert daemon.end() is None and not os.path.exists(daemon.dir + "/control.sock")


def test_no_key_no_gate(daemon):
    daemon.write(daemon.pool(workers=2))
    daemon.start()
    assert len(children(daemon.pid)) == 2


@pytest.mark.root
def test_is_unprivileged(daemon, gate):
    pid = gate_pid(daemon)
    try:
        user = pwd.getpwnam("preforkd")
    except KeyError:
        user = pwd.getpwnam("nobody")
    assert status(pid, "Uid").split() == [str(user.pw_uid)] * 4
    assert status(pid, "Gid").split() == [str(user.pw_gid)] * 4
    assert status(pid, "Groups").strip() == ""
    for field in "CapInh", "CapPrm", "CapEff", "CapAmb":
        assert int(status(pid, field), 16) == 0
    assert status(pid, "NoNewPrivs") == "1"
    assert os.stat("/proc/%d/stat" % pid).st_uid == 0  # that of one that is not dumpable

    def count(kind):
        return sum(kind in x for x in open_files(pid).values())
    wait_for(lambda: count("socket:") == 2)  # the master's, the control socket
    assert count("memfd") == 1
    maps = read("/proc/%d/maps" % pid)
    assert "preforkd-board" not in maps
    assert re.findall(r"(\S+) \S+ \S+ \S+ +/memfd:preforkd-ledger", maps) == ["r--s"]
    assert gate.status()["gate"] == {"pid": pid, "restarts": 0}


@pytest.mark.root
def test_started_by_a_user(daemon):
    """Without root the gate is of the same user, and all the same cannot be traced by its workers."""
    daemon.own_binary()
    os.chown(daemon.dir, pwd.getpwnam("nobody").pw_uid, -1)
    daemon.write(daemon.pool(), control=daemon.dir + "/control.sock")
    os.chown(daemon.conf, pwd.getpwnam("nobody").pw_uid, -1)
    daemon.start(user="nobody")
    assert Gate(daemon).get("/healthz").code == 200
    assert Gate(daemon).done("/reload").startswith("reload 1 done")
    pid = gate_pid(daemon)
    assert status(pid, "Uid").split()[0] == status(daemon.workers()[0], "Uid").split()[0] != "0"
    assert os.stat("/proc/%d/stat" % pid).st_uid == 0
    uid, gid = pwd.getpwnam("nobody").pw_uid, pwd.getpwnam("nobody").pw_gid
    assert connect_as(daemon, uid, gid) == 200
    assert connect_as(daemon, pwd.getpwnam("daemon").pw_uid, gid) == errno.EACCES


@pytest.mark.root
def test_gate_user(daemon):
    daemon.write(daemon.pool(), control=daemon.dir + "/control.sock", gate_user="daemon")
    daemon.start()
    wait_for(lambda: gate_pid(daemon))
    assert status(gate_pid(daemon), "Uid").split()[0] == str(pwd.getpwnam("daemon").pw_uid)
    daemon.end()
    for user, words in ("root", "does not run as root"), ("nosuchuser", "no user \"nosuchuser\""):
        daemon.write(daemon.pool(), control=daemon.dir + "/control.sock", gate_user=user)
        done = daemon.run("-t", "-c", daemon.conf)
        assert done.returncode == 77 and words in done.stderr, done.stderr
        assert "%s:6: gate-user" % daemon.conf in done.stderr


CONNECT = """
import os, socket, sys
os.setgroups([int(g) for g in sys.argv[4].split(",") if g])
os.setgid(int(sys.argv[3])); os.setuid(int(sys.argv[2]))
s = socket.socket(socket.AF_UNIX)
try:
    s.connect(sys.argv[1])
    s.sendall(b"POST /pools/www/drain HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 0\\r\\n\\r\\n")
    print(s.recv(100).split()[1].decode())
except OSError as e:
    print(e.errno)
"""


def connect_as(daemon, uid, gid, groups=()):
    """What one who is that hears: the code, or the error number."""
    done = subprocess.run(["/usr/bin/python3", "-c", CONNECT, daemon.dir + "/control.sock", str(uid),
                           str(gid), ",".join(map(str, groups))], capture_output=True, text=True,
                          timeout=20, check=True)
    return int(done.stdout)


@pytest.mark.root
def test_only_root_and_the_group_may_command(daemon):
    path, group = daemon.dir + "/control.sock", grp.getgrnam("operator").gr_gid
    nobody = pwd.getpwnam("nobody")
    daemon.write(daemon.pool(), control=path)
    daemon.start()
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert connect_as(daemon, nobody.pw_uid, nobody.pw_gid) == errno.EACCES
    os.chmod(path, 0o666)  # the mode is not all that keeps them out
    assert connect_as(daemon, nobody.pw_uid, nobody.pw_gid) == 403
    assert connect_as(daemon, 0, 0) == 200
    daemon.end()
    daemon.write(daemon.pool(), control=path, control_group="operator")
    daemon.start()
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o660 and os.stat(path).st_gid == group
    assert connect_as(daemon, nobody.pw_uid, nobody.pw_gid) == errno.EACCES
    assert connect_as(daemon, nobody.pw_uid, group) == 200
    assert connect_as(daemon, nobody.pw_uid, nobody.pw_gid, [group]) == 200
    os.chmod(path, 0o666)
    assert connect_as(daemon, nobody.pw_uid, nobody.pw_gid) == 403


def test_start_fails_when_it_cannot_listen(daemon):
    port = free_port()
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        for keys, code, words in (
                ({"http": "127.0.0.1:%d" % port}, 69, ":5: http: cannot listen on 127.0.0.1:%d: it is "
                 "in use by" % port),
                ({"control": daemon.dir + "/none/c.sock"}, 73, ":5: control: cannot open the directory"),
                ({"control": daemon.conf}, 73, ":5: control: cannot listen on %s: something that is no "
                 "socket" % daemon.conf)):
            daemon.write(daemon.pool(), **keys)
            for options in ["-t"], []:
                done = daemon.run(*options, "-c", daemon.conf)
                assert done.returncode == code and daemon.conf + words in done.stderr, done.stderr
            daemon.check_nothing_left()


def test_mistakes_in_the_keys(daemon):
    for keys, words in (({"control": "c.sock"}, "control: "), ({"http": "/x.sock"}, "http: "),
                        ({"http": "localhost:1"}, "http: "), ({"http": daemon.sock}, "http: "),
                        ({"control": daemon.sock}, "control: %s belongs to [pool www]" % daemon.sock)):
        daemon.write(daemon.pool(), **keys)
        done = daemon.run("-t", "-c", daemon.conf)
        assert done.returncode == 78 and daemon.conf + ":5: " + words in done.stderr, done.stderr


def test_stale_socket_is_replaced(daemon):
    path = daemon.dir + "/control.sock"
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(path)
    daemon.write(daemon.pool(), control=path)
    daemon.start()
    assert Gate(daemon).get("/healthz").code == 200


def test_changed_keys_take_effect_at_a_restart(daemon, gate):
    daemon.write(daemon.pool(workers=2), control=daemon.dir + "/other.sock")
    assert daemon.reload() == "ok"
    daemon.wait_log("the change of control takes effect at a restart")
    assert gate.get("/healthz").code == 200 and not os.path.exists(daemon.dir + "/other.sock")


def test_killed_gate_comes_back(daemon, gate):
    """At once, however often, and nobody who is served notices."""
    with Load(2, Numbers(daemon.sock)) as load:
        for round_ in range(3):
            before = gate_pid(daemon)
            began = time.monotonic()
            os.kill(before, signal.SIGKILL)
            wait_for(lambda: gate_pid(daemon) not in (None, before), 5)
            assert gate.status()["gate"]["restarts"] == round_ + 1
            assert time.monotonic() - began < 5
    assert not load.lost and load.done > 0
    assert "the gate %d killed by SIGKILL" % before in daemon.read_log()


def test_gate_that_is_mad_is_killed(daemon, gate):
    """A compromised gate can send what it likes: it costs its life."""
    pid = gate_pid(daemon)
    # Its end of the socket to the master, which only root can take.
    pidfd = os.pidfd_open(pid)
    sent = False
    for fd, target in open_files(pid).items():
        if not target.startswith("socket:"):
            continue
        mine = pidfd_getfd(pidfd, fd)
        if mine < 0:  # that of a client who has just gone
            continue
        with socket.socket(fileno=mine) as s:
            if s.type == socket.SOCK_SEQPACKET:
                s.send(b"\xff" * 56)
                sent = True
    os.close(pidfd)
    assert sent
    daemon.wait_log("the gate %d has sent what it should not, killed" % pid)
    wait_for(lambda: gate_pid(daemon) not in (None, pid))
    assert gate.status()["gate"]["restarts"] == 1 and fcgi.number(daemon.sock) > 0


def pidfd_getfd(pidfd, fd):
    import ctypes  # there is no other way to this system call
    return ctypes.CDLL(None).syscall(438, pidfd, fd, 0)


def test_dead_master_takes_its_gate_along(daemon, gate):
    pid = gate_pid(daemon)
    assert gate.get("/healthz").code == 200
    os.kill(daemon.pid, signal.SIGKILL)
    wait_for(lambda: not alive(pid), 5)
    daemon.start()
    assert gate.get("/healthz").code == 200


def test_idle_gate_sleeps(daemon, gate):
    gate.status()
    pid = gate_pid(daemon)

    def switches():
        return [status(p, "voluntary_ctxt_switches") for p in (pid, daemon.pid)]

    def quiet():
        before = switches()
        time.sleep(1.5)
        return switches() == before
    wait_for(quiet, 20, "a second and a half without a wake-up")
