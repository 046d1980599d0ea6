"""The init script, preforkd-reload and the other samples in init/, filled in and run for real."""

import os
import re
import signal
import stat
import subprocess
import threading

import pytest

import fcgi
from daemon import BINARY, IS_ROOT, SOAK, TOP, alive, processes_of, read, wait_for


class Service:
    """The files of init/ in a directory of the test, as make install would fill them in."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.etc = os.path.join(daemon.dir, "etc")
        self.run_dir = os.path.join(daemon.dir, "run")
        os.makedirs(self.etc + "/preforkd")
        os.makedirs(self.etc + "/default")
        os.mkdir(self.run_dir)
        daemon.conf = self.etc + "/preforkd/preforkd.conf"
        daemon.pidfile = self.run_dir + "/preforkd/preforkd.pid"
        self.script = self.fill("preforkd.sysv", "sysv")
        self.helper = self.fill("preforkd-reload", "preforkd-reload")
        self.default()

    def fill(self, name, to, binary=BINARY):
        with open(os.path.join(TOP, "init", name), encoding="utf-8") as f:
            text = f.read()
        for word, path in (("SBINDIR", os.path.dirname(binary)), ("SYSCONFDIR", self.etc),
                           ("LIBEXECDIR", self.daemon.dir), ("RUNSTATEDIR", self.run_dir)):
            text = text.replace("@%s@" % word, path)
        assert not re.search("@[A-Z]+@", text)
        path = os.path.join(self.daemon.dir, to)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path, 0o755)
        return path

    def default(self, **variables):
        variables = {"LOGDIR": self.daemon.dir, "STOP_TIMEOUT": 20, "RELOAD_TIMEOUT": 20,
                     **variables}
        with open(self.etc + "/default/preforkd", "w", encoding="utf-8") as f:
            f.write("".join("%s='%s'\n" % item for item in variables.items()))

    def call(self, *words, **kw):
        return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False,
                              env=self.daemon.environment(), cwd="/", **kw)

    def verb(self, verb, code=0, says="", **kw):
        """Runs one verb of the init script, holds it to its code, returns what it printed."""
        done = self.call(self.script, *verb.split(), **kw)
        said = done.stdout + done.stderr
        assert done.returncode == code, (verb, done.returncode, said)
        assert says in said, said
        if verb in ("start", "restart") and code == 0:
            self.daemon.pid = int(read(self.daemon.pidfile))
        return said

    def reload(self, *args, code=0, says=""):
        done = self.call(self.helper, *(args or (self.daemon.pidfile,)))
        assert done.returncode == code, (done.returncode, done.stderr)
        assert says in done.stderr, done.stderr
        assert (done.stderr == "") == (code == 0), done.stderr


@pytest.fixture
def service(daemon):
    s = Service(daemon)
    yield s
    daemon.end()
    assert os.listdir(s.run_dir + "/preforkd" if os.path.isdir(s.run_dir + "/preforkd")
                      else s.run_dir) == []


def unreadable(service):
    """Somebody who may not read the pidfile."""
    if IS_ROOT:
        return {"user": 65534, "group": 65534, "extra_groups": []}
    os.chmod(service.daemon.pidfile, 0)
    return {}


# The init script


@pytest.mark.quick
def test_end_to_end(daemon, service):
    """Every verb in the order of a day."""
    daemon.write(daemon.pool(workers=2))
    service.verb("configtest", 0, "is fine")
    service.verb("status", 3, "not running")
    service.verb("start", 0, "started")
    first = daemon.pid
    assert fcgi.number(daemon.sock) == 1
    service.verb("status", 0, "running, pid %d" % first)
    service.verb("start", 0, "already running")
    assert int(read(daemon.pidfile)) == first
    before = set(daemon.workers())
    service.verb("reload", 0, "reloaded")
    assert daemon.result() == (1, "ok") and fcgi.number(daemon.sock) == 2
    wait_for(lambda: not before & set(daemon.workers()))
    service.verb("force-reload", 0, "reloaded")
    assert daemon.result() == (2, "ok")
    service.verb("upgrade", 0, "upgraded")
    assert daemon.result() == (3, "ok") and int(read(daemon.pidfile)) == first
    assert fcgi.number(daemon.sock) == 3
    service.verb("restart", 0, "stopped\npreforkd: started")
    assert daemon.pid != first and not alive(first)
    assert fcgi.number(daemon.sock) == 1
    second = daemon.pid
    service.verb("try-restart", 0, "started")
    daemon.pid = int(read(daemon.pidfile))
    assert daemon.pid != second and not alive(second)
    service.verb("stop", 0, "stopped")
    assert not alive(daemon.pid)
    service.verb("status", 3)
    service.verb("stop", 0, "not running")


def test_not_running(daemon, service):
    daemon.write(daemon.pool(workers=1))
    service.verb("stop", 0, "not running")
    service.verb("reload", 7, "not running")
    service.verb("force-reload", 7, "not running")
    service.verb("upgrade", 7, "not running")
    assert "started" not in service.verb("try-restart")
    service.verb("status", 3)
    service.verb("restart", 0, "started")


def test_usage(daemon, service):
    daemon.write(daemon.pool())
    service.verb("dance", 3, "usage")
    assert service.call(service.script).returncode == 2


@pytest.mark.quick
def test_faulty_configuration(daemon, service):
    """Nothing starts with it, and nothing that runs is stopped for it."""
    good, bad = daemon.pool(workers=1), daemon.pool(workers="many")
    daemon.write(bad)
    service.verb("configtest", 6, "preforkd.conf:9")
    service.verb("start", 6, "preforkd.conf:9")
    service.verb("status", 3)
    daemon.write(good)
    service.verb("start")
    daemon.write(bad)
    service.verb("reload", 1, 'failed: %s:9: workers: "many"' % daemon.conf)
    said = service.verb("upgrade", 1, 'upgrade 2 failed: ')
    assert '%s:9: workers: "many"' % daemon.conf in said
    service.verb("restart", 6, "not restarted")
    service.verb("status", 0, "pid %d" % daemon.pid)
    assert fcgi.number(daemon.sock) == 1
    service.verb("stop", 0, "stopped")  # needs no configuration


def test_start_codes(daemon, service):
    """The daemon's codes become those of the LSB, and its sentence is passed on."""
    daemon.write(daemon.pool(command="/bin/false"))
    service.verb("start", 1, "exited with code 1")
    daemon.write(daemon.pool(user="no-such-user"))
    service.verb("start", 4, "no-such-user")
    daemon.write(daemon.pool())
    service.default(DAEMON_ARGS="-x")
    service.verb("start", 2, "usage: preforkd")
    service.default(PREFORKD_CONF=daemon.dir + "/other.conf")
    service.verb("start", 6, daemon.dir + "/other.conf: cannot be read")
    service.default(PIDFILE="/proc/preforkd/preforkd.pid")
    service.verb("start", 4)


def test_defaults_are_taken(daemon, service):
    daemon.write(daemon.pool(workers=3))
    os.rename(daemon.conf, daemon.dir + "/other.conf")
    service.default(PREFORKD_CONF=daemon.dir + "/other.conf", DAEMON_ARGS="-p " + daemon.pidfile)
    service.verb("start")
    assert len(daemon.workers("www")) == 3


def test_not_installed(daemon, service):
    daemon.write(daemon.pool())
    service.script = service.fill("preforkd.sysv", "sysv", "/nonexistent/preforkd")
    service.verb("start", 5, "not installed")
    service.verb("configtest", 5)
    service.verb("stop", 0)
    service.verb("status", 4)


def test_killed_master(daemon, service):
    """status says "dead", stop has nothing to do, and a start works at once."""
    daemon.write(daemon.pool(workers=2))
    service.verb("start")
    daemon.send(signal.SIGKILL)
    wait_for(lambda: not processes_of(daemon.dir))
    service.verb("status", 1, "dead")
    service.verb("reload", 7)
    service.verb("stop", 0, "not running")
    service.verb("start", 0, "started")
    assert fcgi.number(daemon.sock) == 1


def test_pidfile_of_somebody_else(daemon, service):
    """A pid that another program has got meanwhile is neither signalled nor called running."""
    daemon.write(daemon.pool(workers=1))
    os.mkdir(os.path.dirname(daemon.pidfile))
    other = subprocess.Popen(["sleep", "1000"], env=daemon.environment())
    with open(daemon.pidfile, "w", encoding="utf-8") as f:
        f.write(str(other.pid))
    service.verb("status", 1)
    service.verb("stop", 0, "not running")
    service.verb("reload", 7)
    assert other.poll() is None
    service.verb("start", 0, "started")
    other.kill()
    other.wait()


def test_unreadable_pidfile(daemon, service):
    daemon.write(daemon.pool(workers=1))
    service.verb("start")
    somebody = unreadable(service)
    service.verb("status", 4, "unknown", **somebody)
    service.verb("stop", 4, "cannot read", **somebody)
    service.verb("reload", 4, "not permitted", **somebody)
    os.chmod(daemon.pidfile, 0o600)
    service.verb("status", 0)


def test_empty_pidfile(daemon, service):
    """What a crash in the wrong moment leaves."""
    daemon.write(daemon.pool(workers=1))
    os.mkdir(os.path.dirname(daemon.pidfile))
    with open(daemon.pidfile, "w", encoding="utf-8"):
        pass
    service.verb("status", 1)
    service.verb("stop", 0)
    service.verb("reload", 7)
    service.verb("start", 0, "started")


def slow_request(daemon, ms):
    """A request that runs; join it to have its answer, or what was lost."""
    answers = []

    def ask():
        try:
            answers.append(fcgi.body_of(fcgi.get(daemon.sock, b"x", SLEEP_MS=str(ms))))
        except (fcgi.Lost, OSError) as e:
            answers.append(e)

    thread = threading.Thread(target=ask)
    thread.start()
    wait_for(lambda: any("busy" in read("/proc/%d/cmdline" % p) for p in daemon.workers()))
    return thread, answers


def test_stop_waits_for_requests(daemon, service, apps):
    daemon.write(daemon.pool(module=apps + "/module_echo"))
    service.verb("start")
    thread, answers = slow_request(daemon, 1000)
    service.verb("stop", 0, "stopped")
    assert not processes_of(daemon.dir)
    thread.join()
    assert answers == [b"x"]


def test_stop_escalates_after_its_time(daemon, service, apps):
    """INT after STOP_TIMEOUT: it ends, and the request is lost."""
    daemon.write(daemon.pool(module=apps + "/module_echo"))
    service.default(STOP_TIMEOUT=1)
    service.verb("start")
    thread, answers = slow_request(daemon, 20000)
    service.verb("stop", 0, "stopped")
    thread.join()
    assert isinstance(answers[0], (fcgi.Lost, OSError))
    assert "SIGTERM: stops; running requests may finish" in daemon.read_log()
    assert "SIGINT: stops at once" in daemon.read_log()


@pytest.mark.skipif(not SOAK, reason="takes the six seconds that it is about")
def test_stop_kills_what_hangs(daemon, service):
    daemon.write(daemon.pool(workers=1))
    service.default(STOP_TIMEOUT=1)
    service.verb("start")
    daemon.send(signal.SIGSTOP)
    service.verb("stop", 0, "stopped")
    wait_for(lambda: not processes_of(daemon.dir))
    for path in (daemon.pidfile, daemon.pidfile + ".reload", daemon.sock):
        os.unlink(path)


# preforkd-reload


@pytest.mark.quick
def test_reload_tells_the_result(daemon, service, apps):
    daemon.write(daemon.pool())
    service.verb("start")
    service.reload()
    assert daemon.result() == (1, "ok")
    os.unlink(daemon.pidfile + ".reload")  # somebody has cleaned up
    service.reload()
    assert daemon.result() == (2, "ok")
    daemon.write(daemon.pool(module=apps + "/module_echo fail"))
    service.reload(code=1, says="start of application echo returned 3")
    assert daemon.result()[0] == 3
    daemon.write(daemon.pool())
    service.reload()
    assert fcgi.number(daemon.sock) == 1


def test_reload_usage(daemon, service):
    daemon.write(daemon.pool())
    for args in ([], ["a", "b", "c"], [daemon.pidfile, "soon"]):
        assert service.call(service.helper, *args).returncode == 64
    service.reload(daemon.dir + "/no.pid", code=7, says="there is no " + daemon.dir + "/no.pid")
    for text in ("", "\n", "many\n", "99999999\n", "%d\n" % os.getpid()):
        with open(daemon.dir + "/some.pid.txt", "w", encoding="utf-8") as f:
            f.write(text)
        service.reload(daemon.dir + "/some.pid.txt", code=7)


def start_with_slow_reload(daemon, service, command):
    daemon.write(daemon.pool(workers=1))
    service.verb("start")
    daemon.write(daemon.pool(workers=1, listen=daemon.dir + "/new.sock", start_timeout="50s",
                             command="/bin/sh -c '%s'" % command))


def test_reload_when_the_master_dies(daemon, service):
    start_with_slow_reload(daemon, service, "sleep 1000")
    p = subprocess.Popen([service.helper, daemon.pidfile], stderr=subprocess.PIPE, text=True,
                         env=daemon.environment())
    wait_for(lambda: daemon.result() == (1, "running") and os.path.exists(daemon.dir + "/new.sock"))
    daemon.send(signal.SIGKILL)
    assert "preforkd ended before" in p.communicate(timeout=20)[1]
    assert p.returncode == 1
    wait_for(lambda: not processes_of(daemon.dir))
    for path in (daemon.pidfile, daemon.pidfile + ".reload", daemon.sock, daemon.dir + "/new.sock"):
        os.unlink(path)


def test_reload_has_a_limit(daemon, service):
    start_with_slow_reload(daemon, service, "sleep 1000")
    service.reload(daemon.pidfile, "1", code=1, says="not done within 1 seconds")


def test_reload_waits_for_its_own(daemon, service, apps):
    """Asked while another reload runs: the result is that of the next one."""
    start_with_slow_reload(daemon, service, "sleep 1; exec %s/plain" % apps)
    daemon.send(signal.SIGHUP)
    wait_for(lambda: daemon.result() == (1, "running"))
    daemon.write(daemon.pool(workers="many"))
    service.reload(code=1, says="reload 2 failed")
    assert "reload 1 done" in daemon.read_log()


# The others


@pytest.mark.quick
def test_units_are_valid(daemon, service):
    daemon.write(daemon.pool())
    units = [service.fill(name, name) for name in ("preforkd.service", "preforkd.socket")]
    for unit in units:
        os.chmod(unit, 0o644)
    done = service.call("systemd-analyze", "verify", "--man=no", *units)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.quick
@pytest.mark.parametrize("name", ["preforkd.sysv", "preforkd-reload", "preforkd.openrc",
                                  "runit/run"])
def test_scripts(name):
    """Each is a script for sh, and executable in the tree."""
    path = os.path.join(TOP, "init", name)
    subprocess.run(["sh", "-n", path], check=True, timeout=20)
    assert os.stat(path).st_mode & stat.S_IXUSR


def test_unit_commands_work(daemon, service):
    """ExecStart serves and ExecReload reloads, as they stand in the unit."""
    daemon.write(daemon.pool())
    os.mkdir(os.path.dirname(daemon.pidfile))
    unit = read(service.fill("preforkd.service", "unit"))
    start = re.search(r"^ExecStart=(.*)$", unit, re.M).group(1).split()
    reload = re.search(r"^ExecReload=(.*)$", unit, re.M).group(1).split()
    assert start[:2] == [BINARY, "-F"]  # which start_foreground adds
    daemon.start_foreground(*start[2:])
    assert fcgi.number(daemon.sock) == 1
    assert service.call(*reload).returncode == 0
    assert daemon.result() == (1, "ok")
    daemon.write(daemon.pool(workers="many"))
    assert service.call(*reload).returncode == 1


def test_runit(daemon, service):
    daemon.write(daemon.pool())
    with open(daemon.log, "w", encoding="utf-8") as log:
        daemon.process = subprocess.Popen([service.fill("runit/run", "run-script")], stdout=log,
                                          env=daemon.environment())
    daemon.pid = daemon.process.pid
    daemon.wait_log("serving with")
    assert int(read(daemon.pidfile)) == daemon.pid
    assert fcgi.number(daemon.sock) == 1
    assert daemon.reload() == "ok"
    assert daemon.end() == 0
