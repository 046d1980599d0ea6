"""SIGUSR2: another program in the same process, and nobody who is served notices."""

import fcntl
import os
import random
import re
import resource
import signal
import socket
import threading
import time

import pytest

import fcgi
from daemon import BINARY, IS_ROOT, SOAK, alive, make, often, processes_of, read, status, \
    title, wait_for
from load import Load, Numbers, echo, noise
from test_listen import handed_in



def plain(address, sizes=(0, 10, 5000, 300000)):
    """A request function for the program "plain", which answers with its pid and the body."""
    def request(rnd):
        body = noise(rnd, rnd.choice(sizes))
        answer = fcgi.body_of(fcgi.get(address, body)).partition(b" ")[2]
        if answer != body:
            raise fcgi.Lost("%d bytes became %d" % (len(body), len(answer)))
    return request


def replace(path, content=None, source=None, mode=0o755):
    """As a package manager does it: a new file, renamed into place."""
    with open(path + ".new", "wb") as f:
        f.write(content if content is not None else open(source, "rb").read())
    os.chmod(path + ".new", mode)
    os.rename(path + ".new", path)


def exe(pid):
    return os.readlink("/proc/%d/exe" % pid)


def upgrade_well(daemon):
    assert daemon.upgrade() == "ok"


@pytest.mark.quick
def test_usr2_executes_the_program_that_stands_there(daemon):
    """Same pid, another file; the workers run it too, the counter goes on."""
    daemon.own_binary()
    daemon.write(daemon.pool())
    daemon.start()
    before = set(daemon.workers())
    assert fcgi.number(daemon.sock) == 1
    replace(daemon.binary, source=BINARY)
    assert exe(daemon.pid).endswith(" (deleted)")
    assert daemon.upgrade() == "ok"
    assert exe(daemon.pid) == daemon.binary and int(read(daemon.pidfile)) == daemon.pid
    assert daemon.result() == (1, "ok")
    wait_for(lambda: not before & set(daemon.workers()))
    assert [exe(p) for p in daemon.wait_workers(4)] == [daemon.binary] * 4
    assert fcgi.number(daemon.sock) == 2
    assert daemon.run("-c", daemon.conf).returncode == 75
    assert daemon.reload() == "ok" and daemon.result()[0] == 2
    daemon.end()
    assert not os.path.exists(daemon.sock)


@pytest.mark.quick
def test_usr2_under_load_loses_nothing(daemon, apps):
    two, three = daemon.dir + "/two.sock", daemon.dir + "/three.sock"
    daemon.write(daemon.pool(workers=3),
                 daemon.pool("two", listen=two, listen_mode="0666", module=apps + "/module_echo"),
                 daemon.pool("three", listen=three, listen_mode="0666", command=apps + "/plain"))
    daemon.start()
    pid = daemon.pid
    upgrade_well(daemon)
    daemon.wait_workers(11)
    descriptors = daemon.descriptors()
    numbers = Numbers(daemon.sock)
    rounds = often(3, 50)
    with Load(3, numbers) as a, Load(3, echo(two)) as b, Load(3, plain(three)) as c:
        for _ in range(rounds):
            done = [load.done for load in (a, b, c)]
            upgrade_well(daemon)
            wait_for(lambda: all(load.done > n or load.lost
                                 for load, n in zip((a, b, c), done)))
    for load in (a, b, c):
        assert not load.lost, load.lost[:3]
    numbers.check()
    assert int(read(daemon.pidfile)) == pid and daemon.result() == (rounds + 1, "ok")
    daemon.wait_workers(11)
    wait_for(lambda: daemon.descriptors() <= descriptors, 10, "descriptors to be closed")
    assert daemon.run("-c", daemon.conf).returncode == 75
    log = daemon.read_log()
    assert "killed" not in log and "error:" not in log


def test_the_number_that_follows_the_load_is_kept(daemon):
    daemon.write(daemon.pool(workers="1..6", idle_timeout="1h"))
    daemon.start()
    for count in (2, 3):
        daemon.send(signal.SIGTTIN)
        daemon.wait_workers(count)
    before = set(daemon.workers())
    upgrade_well(daemon)
    wait_for(lambda: not before & set(daemon.workers()))
    daemon.wait_workers(3)


def test_kept_connections_survive_usr2(daemon, apps):
    daemon.write(daemon.pool(module=apps + "/module_echo"))
    daemon.start()
    kept = [fcgi.Connection(daemon.sock) for _ in range(20)]
    for round_ in range(3):
        for c in kept:
            assert fcgi.body_of(c.request(b"%d" % round_, keep=True)[0]) == b"%d" % round_
        upgrade_well(daemon)
    for c in kept:
        assert fcgi.body_of(c.request(b"last", keep=True)[0]) == b"last"
        c.close()


@pytest.mark.parametrize("kind", ["module", "command"])
def test_a_long_request_outlives_two_upgrades(daemon, apps, kind):
    """The second comes while the worker of the first is being taken out of service. Its slot is
    wanted, so the second reload waits for its end; with a program that is traced all of it does."""
    keys = {"module": {"module": apps + "/module_echo"}, "command": {"command": apps + "/plain"}}[kind]
    daemon.write(daemon.pool(workers=2, stop_timeout="25s", **keys))
    daemon.start()
    gate, body, got = daemon.gate(), b"y" * 200000, []
    params = {"UNTIL": gate} if kind == "module" else {"SLEEP_MS": "2000"}
    t = threading.Thread(target=lambda: got.append(fcgi.get(daemon.sock, body, **params)))
    t.start()
    sleeps = r"(35|115|230) "  # nanosleep or clock_nanosleep, here and on arm64
    wait_for(lambda: daemon.busy() == 1 if kind == "module" else
             any(re.match(sleeps, read("/proc/%d/syscall" % p)) for p in daemon.workers()))
    first = set(daemon.workers())
    upgrade_well(daemon)
    wait_for(lambda: len(first & set(daemon.workers())) == 1)
    busy = (first & set(daemon.workers())).pop()
    daemon.send(signal.SIGUSR2)
    if kind == "module":
        daemon.wait_log("upgrade 2: the new program has taken over")
    else:
        daemon.send(signal.SIGUSR1)
        wait_for(lambda: daemon.read_log().count("logs reopened") == 1)
        assert status(busy, "TracerPid") == str(daemon.pid)
        assert "upgrade 2" not in daemon.read_log()
    assert not got and alive(busy)
    make(gate)
    t.join()
    assert fcgi.body_of(got[0]).endswith(body)
    wait_for(lambda: daemon.result() == (2, "ok"))
    daemon.wait_log("retiring worker %d exited with code 0" % busy)
    daemon.wait_workers(2)
    assert "stop-timeout" not in daemon.read_log()


def truncated():
    with open(BINARY, "rb") as f:
        return f.read(5000)


def other_version():
    with open(BINARY, "rb") as f:
        program = f.read()
    assert b"preforkd-state %u" in program
    return program.replace(b"preforkd-state %u", b"preforkd-stale %u")


BROKEN = {
    "truncated": (truncated, 0o755, "exited with code|killed by|Exec format error"),
    "fails": (lambda: b"#!/bin/sh\necho it is broken >&2\nexit 1\n", 0o755,
              "exited with code 1: it is broken"),
    "is-no-preforkd": (lambda: b"#!/bin/sh\nexit 0\n", 0o755, "no preforkd that can take over"),
    "not-executable": (lambda: b"#!/bin/sh\n", 0o644, "Permission denied"),
    "other-version": (other_version, 0o755, "the state is of version"),
    "writable-by-others": (lambda: b"#!/bin/sh\n", 0o777, "can be written"),
    "missing": (None, 0, "No such file"),
}


@pytest.mark.quick
@pytest.mark.parametrize("what", BROKEN)
def test_a_program_that_cannot_take_over_changes_nothing(daemon, what):
    content, mode, reason = BROKEN[what]
    if what == "writable-by-others" and not IS_ROOT:
        pytest.skip("it is the user's own matter")
    daemon.own_binary()
    daemon.write(daemon.pool())
    daemon.start()
    before, descriptors = set(daemon.workers()), daemon.descriptors()
    if content is None:
        os.unlink(daemon.binary)
    else:
        replace(daemon.binary, content(), mode=mode)
    result = daemon.upgrade()
    assert result.startswith("failed: ") and re.search(reason, result), result
    assert re.search("upgrade 1 failed, the old program serves on: .*(%s)" % reason,
                     daemon.read_log())
    assert set(daemon.workers()) == before and fcgi.number(daemon.sock) == 1
    assert wait_for(lambda: daemon.descriptors() <= descriptors, 10, "descriptors to be closed")
    assert daemon.reload() == "ok" and daemon.result()[0] == 2
    replace(daemon.binary, source=BINARY)
    assert daemon.upgrade() == "ok"
    assert fcgi.number(daemon.sock) == 2


def test_a_program_that_does_not_answer_is_killed(daemon):
    if not SOAK:
        pytest.skip("takes ten seconds: make soak")
    daemon.own_binary()
    daemon.write(daemon.pool())
    daemon.start()
    replace(daemon.binary, b"#!/bin/sh\nsleep 1000\n")
    assert "did not answer" in daemon.upgrade()
    assert fcgi.number(daemon.sock) == 1
    daemon.wait_workers(4)


@pytest.mark.quick
def test_what_the_program_prints_is_escaped(daemon):
    daemon.own_binary()
    daemon.write(daemon.pool())
    daemon.start()
    replace(daemon.binary, b"#!/bin/sh\nprintf 'a\\033[2Jb\\nsecond\\n' >&2\nexit 3\n")
    assert r"exited with code 3: a\033[2Jb" in daemon.upgrade()
    assert r"the new program says: a\033[2Jb" in daemon.read_log()
    assert "the new program says: second" in daemon.read_log()


@pytest.mark.quick
def test_a_faulty_configuration_is_found_before(daemon):
    daemon.write(daemon.pool())
    daemon.start()
    before = set(daemon.workers())
    daemon.write(daemon.pool(wrokers=3), daemon.pool("two", listen="nonsense"))
    result = daemon.upgrade()
    assert "wrokers" in result and "taken over" not in daemon.read_log()
    assert "nonsense" in daemon.read_log()  # every mistake is told
    assert set(daemon.workers()) == before and fcgi.number(daemon.sock) == 1
    daemon.write(daemon.pool(workers=3))
    assert daemon.upgrade() == "ok"
    daemon.wait_workers(3)


def test_adopted_workers_serve_on_when_the_reload_fails(daemon, apps):
    """What is only found at the start of the new workers: the old ones are there, and are replaced as
    they were configured."""
    two = daemon.dir + "/two.sock"
    script = daemon.dir + "/program"
    replace(script, b"#!/bin/sh\nexec %s/plain\n" % apps.encode())
    daemon.write(daemon.pool(workers=2),
                 daemon.pool("two", listen=two, listen_mode="0666", command=script, workers=2))
    daemon.start()
    before = set(daemon.workers())
    replace(script, b"#!/bin/sh\nexit 3\n")
    assert "exited with code 3" in daemon.upgrade()
    daemon.wait_log("taken over")
    wait_for(lambda: set(daemon.workers()) == before)
    assert fcgi.number(daemon.sock) == 1 and fcgi.get(two)
    user = status(min(before), "Uid")
    victim = next(p for p in daemon.workers("www"))
    os.kill(victim, signal.SIGKILL)
    daemon.wait_log(r"worker %d killed by SIGKILL" % victim)
    new = wait_for(lambda: set(daemon.workers("www")) - before).pop()
    wait_for(lambda: status(new, "Uid") == user)
    assert fcgi.number(daemon.sock) == 2
    replace(script, b"#!/bin/sh\nexec %s/plain\n" % apps.encode())
    assert daemon.upgrade() == "ok"
    assert daemon.reload() == "ok"


def test_adopted_workers_leave_with_the_master(daemon, apps):
    """The life-line and the death signal are those of the first image."""
    script = daemon.dir + "/program"
    replace(script, b"#!/bin/sh\nexec %s/plain\n" % apps.encode())
    daemon.write(daemon.pool(workers=2),
                 daemon.pool("two", listen=daemon.dir + "/two.sock", command=script, workers=2))
    daemon.start()
    before = set(daemon.workers())
    upgrade_well(daemon)
    wait_for(lambda: not before & set(daemon.workers()))
    before = set(daemon.workers())
    replace(script, b"#!/bin/sh\nexit 3\n")
    assert daemon.upgrade().startswith("failed")
    wait_for(lambda: set(daemon.workers()) == before)
    os.kill(daemon.pid, signal.SIGKILL)
    wait_for(lambda: not any(alive(p) for p in before), 10)
    daemon.write(daemon.pool(workers=2),
                 daemon.pool("two", listen=daemon.dir + "/two.sock", command=apps + "/plain"))
    daemon.start()
    assert fcgi.number(daemon.sock) == 1


def test_limits_are_those_of_the_first_start(daemon):
    """The master raises its own; its workers do not get that, after an upgrade either."""
    def limit():
        return re.search(r"Max open files +(\d+) ", read("/proc/%d/limits" % daemon.workers()[0]))[1]

    daemon.write(daemon.pool(workers=1))
    daemon.start(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (300, 1000)))
    for _ in range(3):
        assert limit() == "300"
        before = daemon.workers()
        upgrade_well(daemon)
        wait_for(lambda: len(daemon.workers()) == 1 and daemon.workers() != before)


def test_a_program_leaves_nothing_behind(daemon):
    """What it has started holds our descriptors."""
    daemon.own_binary()
    daemon.write(daemon.pool())
    daemon.start()
    replace(daemon.binary, b"#!/bin/sh\nsleep 1000 &\nexit 1\n")
    assert daemon.upgrade().startswith("failed")
    wait_for(lambda: not any("sleep 1000" in title(p) for p in processes_of(daemon.dir)))


def test_usr2_during_a_reload_waits_for_its_end(daemon, apps):
    daemon.write(daemon.pool())
    daemon.start()
    go = daemon.dir + "/go"
    script = daemon.dir + "/slow"
    replace(script, b"#!/bin/sh\nwhile [ ! -e %s ]; do sleep 0.02; done\nexec %s/plain\n" %
            (go.encode(), apps.encode()))
    daemon.write(daemon.pool("slow", listen=daemon.dir + "/slow.sock", command=script, workers=1,
                             start_timeout="20s"))
    daemon.send(signal.SIGHUP)
    daemon.wait_log("reload 1 begins")
    daemon.send(signal.SIGUSR2)
    daemon.send(signal.SIGUSR1)
    daemon.wait_log("logs reopened")
    assert "upgrade" not in daemon.read_log()
    make(go)
    wait_for(lambda: daemon.result() == (2, "ok"))
    assert re.search(r"(?s)reload 1 done.*upgrade 2 begins.*reload 2 done", daemon.read_log())


def test_many_usr2_and_hup_at_once(daemon):
    """They coalesce; the last of them counts."""
    daemon.write(daemon.pool())
    daemon.start()
    for i in range(100):
        daemon.send((signal.SIGUSR2, signal.SIGHUP)[i % 2])
    assert wait_for(lambda: daemon.result()[1] == "ok")
    before = daemon.result()[0]
    upgrade_well(daemon)
    assert daemon.result()[0] <= before + 5
    daemon.wait_workers(4)
    assert "failed" not in daemon.read_log()


def test_hup_right_after_usr2(daemon):
    """At every moment of an upgrade: each of the two has its result."""
    daemon.write(daemon.pool(workers=1))
    daemon.start()
    rnd = random.Random(1)
    for _ in range(often(8, 200)):
        before = daemon.result()[0]
        daemon.send(signal.SIGUSR2)
        time.sleep(rnd.random() * 0.02)  # not to wait for something: to come at any moment
        daemon.send(signal.SIGHUP)
        wait_for(lambda: daemon.result()[0] > before and daemon.result()[1] == "ok")
    daemon.reload_well()
    assert "failed" not in daemon.read_log()


@pytest.mark.quick
def test_term_right_after_usr2(daemon, apps):
    """At every moment of an upgrade: it ends, and leaves nothing behind."""
    daemon.write(daemon.pool(workers=1),
                 daemon.pool("two", listen=daemon.dir + "/two.sock", command=apps + "/plain",
                             workers=1))
    rnd = random.Random(2)
    for _ in range(often(8, 200)):
        daemon.start()
        daemon.send(signal.SIGUSR2)
        time.sleep(rnd.random() * 0.02)  # not to wait for something: to come at any moment
        daemon.end()
        daemon.check_nothing_left()


def test_workers_killed_around_usr2_are_replaced(daemon, apps):
    daemon.write(daemon.pool(workers=3),
                 daemon.pool("two", listen=daemon.dir + "/two.sock", command=apps + "/plain",
                             workers=3))
    daemon.start()
    rnd = random.Random(3)
    for _ in range(often(8, 200)):
        before, victims = daemon.result()[0], rnd.sample(daemon.workers(), 2)
        daemon.send(signal.SIGUSR2)
        time.sleep(rnd.random() * 0.02)  # not to wait for something: to come at any moment
        for pid in victims:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        wait_for(lambda: daemon.result()[0] > before and daemon.result()[1] == "ok")
        daemon.wait_workers(6)
        wait_for(lambda: not any(status(p, "State").startswith("Z") for p in victims), 10, "reaping")
    assert fcgi.get(daemon.sock) and fcgi.get(daemon.dir + "/two.sock")


def test_an_unfinished_line_of_output_is_kept(daemon, apps):
    script = daemon.dir + "/prints"
    replace(script, b"#!/bin/sh\nprintf 'half a line' >&2\nexec %s/plain\n" % apps.encode())
    daemon.write(daemon.pool(command=script, workers=1))
    daemon.start()
    first = daemon.workers()[0]
    upgrade_well(daemon)
    daemon.wait_log("pool www: worker %d: half a line\n" % first)


@pytest.mark.quick
def test_the_foreground_and_its_notifications(daemon, monkeypatch):
    """What is read once from the environment is there again; its sockets too."""
    address = daemon.dir + "/notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, socket.socket() as s:
        manager.bind(address)
        os.chmod(address, 0o777)
        manager.settimeout(20)
        s.bind(("127.0.0.1", 0))
        s.listen(10)
        daemon.write(daemon.pool(listen="fd:web"))
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        handed_in(daemon, [s], ["web"], "-F", "-c", daemon.conf)
        where = "127.0.0.1:%d" % s.getsockname()[1]
        assert b"READY=1" in manager.recv(4096)
        for n in range(2):
            before = daemon.workers()
            upgrade_well(daemon)
            assert b"RELOADING=1\nMONOTONIC_USEC=" in manager.recv(4096)
            assert b"READY=1" in manager.recv(4096)
            assert fcgi.number(where) == n + 1
            wait_for(lambda: not set(before) & set(daemon.workers()))
            assert "LISTEN_" not in read("/proc/%d/environ" % daemon.workers()[0])
        assert daemon.end() == 0


@pytest.mark.quick
def test_relative_paths_belong_to_the_first_directory(daemon):
    daemon.own_binary()
    daemon.write(daemon.pool())
    daemon.binary, there = "./preforkd", daemon.binary
    done = daemon.run("-c", "preforkd.conf", "-p", "preforkd.pid", cwd=daemon.dir)
    assert done.returncode == 0, done.stderr
    daemon.pid = int(read(daemon.pidfile))
    for _ in range(2):
        upgrade_well(daemon)
    assert exe(daemon.pid) == there


def test_options_without_a_file(daemon, apps):
    daemon.start_foreground("-l", daemon.sock, "-n", "2", "-p", daemon.pidfile, "--", apps + "/plain")
    for _ in range(2):
        upgrade_well(daemon)
        assert fcgi.get(daemon.sock)
    daemon.wait_workers(2)
    assert daemon.end() == 0


@pytest.mark.parametrize("content", [b"nonsense", b"preforkd-state 1\norigin binary=zz\nend\n",
                                     b"preforkd-state 1\nend\n", b"preforkd-state 77\nend\n", None])
def test_a_state_that_cannot_be_used_starts_anew(daemon, monkeypatch, content):
    """It has been asked before, so this must not happen; if it does, it says so and serves."""
    fd = os.memfd_create("test", os.MFD_ALLOW_SEALING)
    if content is not None:
        os.write(fd, content)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK |
                    fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE)
    daemon.write(daemon.pool())
    asked = daemon.run("-t", "-c", daemon.conf, env={"PREFORKD_STATE": str(fd)}, pass_fds=(fd,))
    assert asked.returncode not in (0, 75) and "takes over" not in asked.stdout
    monkeypatch.setenv("PREFORKD_STATE", str(fd))
    daemon.start_foreground(pass_fds=(fd,))
    assert "cannot take over, all starts anew: " in daemon.read_log()
    assert fcgi.number(daemon.sock) == 1
    os.close(fd)
