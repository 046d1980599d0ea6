"""preforkctl with the real daemon: what it says is so, and what it reports as done has happened."""

import json
import os
import pwd
import re
import signal
import subprocess
import threading
import time

import pytest

import fcgi
from ctl import CTL, Ctl
from daemon import APPS, Daemon, alive, make, processes_of, wait_for
from terminal import Terminal
from test_init import Service


@pytest.fixture
def steered(daemon):
    """A daemon with a control socket, and ctl, the client for it."""
    write = daemon.write
    daemon.control = daemon.dir + "/control.sock"
    daemon.ctl = Ctl(daemon.control)
    daemon.write = lambda *pools, **keys: write(*pools, control=daemon.control, **keys)
    return daemon


def slow_start(daemon, seconds):
    """The pool of a program that needs so long to start."""
    return daemon.pool(workers=1, command="/bin/sh -c 'sleep %g; exec %s/plain'" % (seconds, APPS))


# Looking


@pytest.mark.quick
def test_status_is_the_truth(steered):
    steered.write(steered.pool(module=APPS + "/module_echo", workers=3),
                  steered.pool("php", listen=steered.dir + "/php.sock", command=APPS + "/plain",
                               workers=2))
    steered.start()
    for _ in range(5):
        fcgi.get(steered.sock)
    gate = steered.gate()
    thread = threading.Thread(target=fcgi.get, args=(steered.sock,),
                              kwargs={"UNTIL": gate, "SCRIPT_NAME": "/a\x1b[31m/b"})
    thread.start()
    wait_for(lambda: steered.busy() == 1)
    wait_for(lambda: "  1  " in steered.ctl.do("status"))
    out = steered.ctl.do("status", "-v")
    assert "pid %d, serving" % steered.pid in out
    rows = {line.split()[0]: line.split() for line in out.splitlines() if "serving " in line}
    assert rows["www"][1:6] == ["serving", "2", "1", "0", "0"]
    assert rows["www"][7] in ("5", "6")  # the one in hand may count
    assert rows["php"][7] == "-"
    listed = re.findall(r"^ +\d+ +(\d+) +1 +\w+ ", out, re.M)
    assert sorted(map(int, listed)) == sorted(
        p for p in steered.workers() if p != steered.ctl.status()["gate"]["pid"])
    line = next(line for line in out.splitlines() if " busy " in line)
    assert "GET /a" in line and "/b" in line and "\x1b" not in out
    make(gate)
    thread.join()
    wait_for(lambda: steered.ctl.pool()["workers"]["idle"] == 3)
    assert steered.ctl.pool()["requests"] == 6
    os.unlink(gate)


@pytest.mark.quick
def test_ping(steered):
    steered.write(steered.pool(workers=1))
    steered.ctl.do("ping", code=69, says="not running")
    steered.start()
    assert steered.ctl.do("ping") == "preforkd 0.1.0 answers, pid %d, serving\n" % steered.pid
    steered.end()
    steered.ctl.do("ping", code=69, says="not running")


def test_status_of_a_back_off(steered):
    """150 while the pool cannot start, 0 when it can again."""
    flag = steered.dir + "/flag"
    make(flag)
    steered.write(steered.pool(
        workers=1, command="/bin/sh -c 'test -e %s && exec %s/plain'" % (flag, APPS)))
    steered.start()
    steered.ctl.do("status")
    os.unlink(flag)
    os.kill(steered.ctl.pool()["list"][0]["pid"], signal.SIGKILL)
    wait_for(lambda: steered.ctl.run("status").returncode == 150)
    wait_for(lambda: ", next in " in steered.ctl.run("status").stdout)
    out = steered.ctl.run("status").stdout
    assert "pool www is not healthy: " in out and "backoff" in out
    make(flag)
    wait_for(lambda: steered.ctl.run("status").returncode == 0)


def test_master_that_hangs(steered):
    """The gate says so, and nobody waits for ever: exit 75."""
    steered.write(steered.pool(workers=1))
    steered.start()
    steered.ctl.do("ping")
    steered.send(signal.SIGSTOP)
    try:
        wait_for(lambda: steered.ctl.run("ping").returncode == 75)  # not from its last look
        steered.ctl.do("reload", "-t", "300ms", code=75, says="no answer within 0.3 s")
    finally:
        steered.send(signal.SIGCONT)
    steered.ctl.do("ping")


@pytest.mark.root
def test_who_may(steered):
    """Root and members of control-group; nobody else, not even to look."""
    nobody = pwd.getpwnam("nobody")
    steered.write(steered.pool(workers=1), control_group="daemon")
    steered.start()
    other = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    for verb in ("status", "reload"):
        steered.ctl.do(verb, code=77, says="not permitted", **other)
    member = {**other, "extra_groups": ["daemon"]}
    steered.ctl.do("status", **member)
    steered.ctl.do("reload", **member)


# Steering


@pytest.mark.quick
def test_reload(steered):
    """Back when the new workers serve; a failure has its reason and changes nothing."""
    steered.write(steered.pool(workers=2))
    steered.start()
    before = {w["pid"] for w in steered.ctl.pool()["list"]}
    assert steered.ctl.do("reload") == "reload 1 done: 2 workers in 1 pool\n"
    wait_for(lambda: not before & set(steered.workers()))
    assert steered.ctl.pool()["generation"] == 2
    steered.write(steered.pool(workers="many"))
    steered.ctl.do("reload", code=1, says='%s:10: workers: "many"' % steered.conf)
    told = json.loads(steered.ctl.run("--json", "reload").stdout)
    assert told["ok"] is False and "many" in told["message"]
    assert fcgi.number(steered.sock) == 1
    assert steered.ctl.status()["reloads"]["failed"] == 2


def test_reload_takes_as_long_as_it_takes(steered):
    """And with -t not longer: what was begun goes on."""
    steered.write(steered.pool(workers=1, command=APPS + "/plain"))
    steered.start()
    steered.write(slow_start(steered, 2))
    steered.ctl.do("reload", "-t", "300ms", code=75, says="no answer within 0.3 s")
    wait_for(lambda: "reload 1 done" in steered.read_log())
    begin = time.monotonic()
    steered.ctl.do("reload", says="reload 2 done")
    assert time.monotonic() - begin > 1.9


@pytest.mark.quick
def test_reload_of_one_pool(steered):
    steered.write(steered.pool(workers=2),
                  steered.pool("other", listen=steered.dir + "/other.sock", workers=2))
    steered.start()
    old = {name: {w["pid"] for w in steered.ctl.pool(name)["list"]} for name in ("www", "other")}
    steered.ctl.do("reload", "www", says="reload 1 done")
    wait_for(lambda: not old["www"] & set(steered.workers()))
    assert old["other"] <= set(steered.workers())
    steered.ctl.do("reload", "nix", code=1, says="no pool nix")


@pytest.mark.quick
def test_scale(steered):
    steered.write(steered.pool(workers=2))
    steered.start()
    steered.ctl.do("scale", "www", "5")
    wait_for(lambda: steered.ctl.pool()["workers"]["idle"] == 5)
    assert len(steered.workers("www")) == 5
    steered.ctl.do("scale", "www", "1")
    steered.wait_workers(1, "www")
    steered.ctl.do("scale", "nix", "3", code=1, says="no pool nix")
    steered.ctl.do("scale", "www", "0", code=1)
    steered.ctl.do("reload")
    steered.wait_workers(2, "www")


@pytest.mark.quick
def test_drain(steered):
    """It serves, and is not healthy."""
    steered.write(steered.pool(workers=1))
    steered.start()
    steered.ctl.do("drain", "www")
    assert "www is not healthy: drain" in steered.ctl.do("status", code=150)
    assert fcgi.number(steered.sock) == 1
    steered.ctl.do("undrain", "www")
    steered.ctl.do("status")
    steered.ctl.do("drain", "nix", code=1, says="no pool nix")


@pytest.mark.quick
def test_reopen(steered):
    steered.write(steered.pool(workers=1))
    steered.start()
    os.rename(steered.log, steered.log + ".1")
    steered.ctl.do("reopen")
    steered.wait_log("logs reopened")


def test_upgrade(steered):
    """The same process, another image; and one that is refused."""
    steered.own_binary()
    steered.write(steered.pool(workers=2))
    steered.start()
    assert "upgrade 1 done" in steered.ctl.do("upgrade")
    steered.ctl.do("ping", says="pid %d," % steered.pid)
    assert steered.ctl.status()["upgrades"]["done"] == 1
    os.unlink(steered.binary)
    steered.ctl.do("upgrade", code=1, says="cannot run " + steered.binary)
    assert fcgi.number(steered.sock) == 1
    assert steered.ctl.status()["upgrades"]["last"]["result"] == "failed"


@pytest.mark.quick
def test_stop(steered):
    """Back when the master has ended, not before; also while it is busy, and with -t."""
    steered.write(steered.pool(module=APPS + "/module_echo", workers=1))
    steered.start()
    gate = steered.gate()
    answers = []
    thread = threading.Thread(target=lambda: answers.append(
        fcgi.body_of(fcgi.get(steered.sock, b"x", UNTIL=gate))))
    thread.start()
    wait_for(lambda: steered.busy() == 1)
    steered.ctl.do("stop", "-t", "500ms", code=75, says="process %d still stops" % steered.pid)
    client = subprocess.Popen([CTL, "-s", steered.control, "stop"], stdout=subprocess.PIPE)
    assert alive(steered.pid)
    make(gate)
    thread.join()
    out, _ = client.communicate(timeout=20)
    assert client.returncode != 0 or not alive(steered.pid)
    wait_for(lambda: not alive(steered.pid))  # a client that came late finds the socket gone before
    assert answers == [b"x"] and (client.returncode, out) in ((0, b"stopped\n"), (69, b""))
    os.unlink(gate)
    steered.ctl.do("stop", code=69)


def test_stop_with_a_gate_that_dies(steered):
    """The gate is killed while the client waits: what counts is the master's process."""
    steered.write(steered.pool(module=APPS + "/module_echo", workers=1))
    steered.start()
    gate = steered.gate()
    thread = threading.Thread(target=fcgi.get, args=(steered.sock,), kwargs={"UNTIL": gate})
    thread.start()
    wait_for(lambda: steered.busy() == 1)
    pid = steered.ctl.status()["gate"]["pid"]
    client = subprocess.Popen([CTL, "-s", steered.control, "stop"], stdout=subprocess.PIPE)
    steered.wait_log("stop")
    os.kill(pid, signal.SIGKILL)
    assert client.poll() is None
    make(gate)
    thread.join()
    out, _ = client.communicate(timeout=20)
    assert (client.returncode, out) == (0, b"stopped\n")
    os.unlink(gate)


def test_gate_that_dies_meanwhile(steered):
    """A command that was lost is not called done, and is not sent again."""
    steered.write(steered.pool(workers=1, command=APPS + "/plain"))
    steered.start()
    pid = steered.ctl.status()["gate"]["pid"]
    steered.write(slow_start(steered, 1))
    client = subprocess.Popen([CTL, "-s", steered.control, "reload"], stderr=subprocess.PIPE)
    steered.wait_log("reload 1 begins")
    os.kill(pid, signal.SIGKILL)
    _, said = client.communicate(timeout=20)
    assert client.returncode == 1 and b"closed before the answer" in said
    wait_for(lambda: steered.ctl.run("ping").returncode == 0)
    steered.wait_log("reload 1 done")
    assert "reload 2" not in steered.read_log()


def test_top(steered):
    """Live with the real daemon: a reload by a key, a restart of the daemon, the end."""
    steered.write(steered.pool(workers=2))
    steered.start()
    with Terminal([CTL, "-s", steered.control, "top"]) as terminal:
        terminal.wait("pid %d, serving" % steered.pid)
        terminal.wait("0 of 2 workers busy")
        terminal.press(b"ry")
        terminal.wait("reload 1 done: 2 workers in 1 pool")
        steered.end()
        terminal.wait("not running")
        steered.start()
        terminal.wait("pid %d, serving" % steered.pid)
        terminal.press(b"q")
        assert terminal.end() == 0


# Init scripts


@pytest.fixture
def service(steered):
    """The files of init/, with the control socket beside the pidfile."""
    s = Service(steered)
    steered.control = os.path.dirname(steered.pidfile) + "/control.sock"
    steered.ctl = Ctl(steered.control)
    yield s
    steered.end()


@pytest.mark.quick
def test_init_script_asks_the_daemon(steered, service):
    """status and reload go over the control socket, and say what is so."""
    steered.write(steered.pool(workers=2))
    service.verb("status", 3, "not running")
    service.verb("start", 0, "started")
    said = service.verb("status", 0, "running, pid %d" % steered.pid)
    assert "REQUESTS" in said and "www" in said
    service.verb("reload", 0, "reloaded")
    service.verb("upgrade", 0, "upgraded")
    assert "control: reload is asked for" in steered.read_log()
    assert "control: upgrade is asked for" in steered.read_log()
    steered.ctl.do("drain", "www")
    service.verb("status", 150, "www is not healthy")
    steered.write(steered.pool(workers="many"))
    service.verb("reload", 1, 'workers: "many"')
    steered.send(signal.SIGSTOP)
    service.verb("status", 4, "does not answer")
    steered.send(signal.SIGCONT)
    service.verb("stop", 0, "stopped")
    service.verb("status", 3, "not running")


def test_init_script_beside_another_daemon(steered, service):
    """A control socket of another daemon is not asked: signals go where the pidfile says."""
    steered.write(steered.pool(workers=1))
    service.verb("start", 0)
    with Daemon("other") as other:
        other.write(other.pool(workers=1), control=other.dir + "/control.sock")
        other.start()
        service.default(CONTROL=other.dir + "/control.sock")
        assert "REQUESTS" not in service.verb("status", 0, "running, pid %d" % steered.pid)
        service.verb("reload", 0, "reloaded")
        assert "reload 1 done" in steered.read_log() and "reload" not in other.read_log()
    service.default(CONTROL="/nonexistent/control.sock")
    service.verb("reload", 0, "reloaded")
    assert "control: " not in steered.read_log()


def test_init_script_after_a_crash(steered, service):
    """The stale control socket does not make it run."""
    steered.write(steered.pool(workers=1))
    service.verb("start", 0)
    steered.send(signal.SIGKILL)
    wait_for(lambda: not processes_of(steered.dir))
    assert os.path.exists(steered.control)
    service.verb("status", 1, "dead")
    service.verb("reload", 7, "not running")
    service.verb("start", 0, "started")
    service.verb("status", 0, "serving")
