"""The systems that are compared: how each is started with an address and so many workers.

Each runs in a session of its own, as a daemon does, in the foreground, so that its process is ours to
wait for; its workers are children of that process. All answer with a counter.
"""

import glob
import itertools
import os
import shutil
import signal
import socket
import subprocess
import time

PATIENCE = 60  # seconds, for anything
STOP_PATIENCE = 5
BACKLOG = 4096
NUMBERS = itertools.count(1)
AS_ROOT = os.geteuid() == 0
USER, GROUP = "nobody", "nogroup"


class BenchError(Exception):
    pass


def wait_until(condition, what, interval=0.002, patience=PATIENCE):
    """Seconds that it took."""
    begin = time.monotonic()
    while not condition():
        if time.monotonic() - begin > patience:
            raise BenchError("%s: not within %d s" % (what, patience))
        time.sleep(interval)
    return time.monotonic() - begin


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def children(pid):
    try:
        with open("/proc/%d/task/%d/children" % (pid, pid), encoding="ascii") as f:
            return [int(word) for word in f.read().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def is_unix(address):
    return address.startswith("/")


class System:
    """One running system. Subclasses say what it is called, and its command line."""

    name = ""
    keeps = True          # connections between requests
    shares = True         # one counter for all workers
    program = None        # that must be installed
    stop_signal = signal.SIGTERM  # the graceful one
    most_workers = 1000

    def __init__(self, directory, address, workers):
        self.directory, self.address, self.workers = directory, address, workers
        self.tag = "%s-%d" % (type(self).__name__.lower(), next(NUMBERS))
        self.process = None
        self.ready = None  # seconds until it said so, where it does
        self.last = 0  # number that it has given, where all workers share the counter

    @classmethod
    def is_there(cls):
        return cls.program is None or shutil.which(cls.program) is not None

    def path(self, suffix):
        return os.path.join(self.directory, self.tag + suffix)

    def write(self, suffix, text):
        with open(self.path(suffix), "w", encoding="utf-8") as f:
            f.write(text)
        return self.path(suffix)

    def command(self):
        raise NotImplementedError

    def environment(self):
        return {}

    def start(self):
        """Seconds until all workers are there."""
        begin = time.monotonic()
        with open(self.path(".log"), "ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd=self.directory, start_new_session=True,
                env={"PATH": os.environ["PATH"], **self.environment()})
        wait_until(self.has_workers, self.name, 0.001)
        return time.monotonic() - begin

    def has_workers(self):
        if self.process.poll() is not None:
            with open(self.path(".log"), encoding="utf-8", errors="replace") as f:
                raise BenchError("%s has ended: %s" % (self.name, f.read()[-2000:]))
        return len(children(self.process.pid)) >= self.workers

    def pids(self):
        return [self.process.pid, *children(self.process.pid)]

    def stop(self):
        """Seconds until all are gone; None: some stay."""
        pids = self.pids()
        begin = time.monotonic()
        self.process.send_signal(self.stop_signal)

        def gone():
            self.process.poll()
            return not any(os.path.exists("/proc/%d" % pid) for pid in pids)
        try:
            wait_until(gone, self.name, patience=STOP_PATIENCE)
        except BenchError:
            for pid in pids[1:]:  # of a parent that is gone, perhaps
                kill(pid)
            return None
        return time.monotonic() - begin

    def kill(self):
        """Whatever it was doing; for the end of everything."""
        if self.process is None:
            return
        for pid in self.pids():
            kill(pid)
        self.process.wait()

    def host_port(self):
        host, port = self.address.rsplit(":", 1)
        return host, port


class Spawned(System):
    """What spawn-fcgi starts, with the socket on fd 0."""

    program = "spawn-fcgi"

    def spawned(self, *command):
        where = ["-s", self.address, "-M", "0666"]
        if not is_unix(self.address):
            where = ["-a", self.host_port()[0], "-p", self.host_port()[1]]
        user = ["-u", USER, "-g", GROUP] if AS_ROOT else []
        return ["spawn-fcgi", "-n", *where, "-b", str(BACKLOG), *user, "--", *command]


class Limit(Spawned):
    name = "hand-written limit"

    def command(self):
        return self.spawned(os.path.join(self.directory, "limit"), str(self.workers))


class Multiwatch(Spawned):
    name = "libfcgi, spawn-fcgi and multiwatch"
    program = "multiwatch"

    def command(self):
        return self.spawned(shutil.which("multiwatch"), "-f", str(self.workers), "--",
                            os.path.join(self.directory, "counter"))

    def environment(self):
        path = self.write(".counter", "")
        os.chmod(path, 0o666)
        return {"COUNTER_FILE": path}


class PerlProcManager(Spawned):
    name = "Perl FCGI::ProcManager"
    shares = False
    program = "perl"

    @classmethod
    def is_there(cls):
        return super().is_there() and subprocess.run(
            ["perl", "-MFCGI::ProcManager", "-e", "1"], stderr=subprocess.DEVNULL,
            check=False).returncode == 0

    def command(self):
        return self.spawned(shutil.which("perl"), os.path.join(self.directory, "counter.pl"),
                            str(self.workers))


class Preforkd(System):
    name = "preforkd, app"
    what = "app = counter"

    def configuration(self):
        return ("[preforkd]\npid-file =\nlog = %s\n[pool www]\nlisten = %s\nlisten-mode = 0666\n"
                "workers = %d\n%s\n" % (self.path(".log"), self.address, self.workers, self.what))

    def command(self):
        return [os.path.join(self.directory, "preforkd"), "-F", "-c",
                self.write(".conf", self.configuration())]

    def start(self):
        alive = super().start()
        begin = time.monotonic()
        wait_until(self.is_ready, self.name)
        self.ready = alive + time.monotonic() - begin
        return alive

    def is_ready(self):
        """Each worker has said that it waits for requests."""
        with open(self.path(".log"), encoding="utf-8") as f:
            return "serving with" in f.read()


class PreforkdNapper(Preforkd):
    name = "preforkd, module"

    def configuration(self):
        self.what = "module = " + os.path.join(self.directory, "napper.so")
        return super().configuration()


class PreforkdCommand(Preforkd):
    name = "preforkd, libfcgi program"

    def configuration(self):
        counter = self.write(".counter", "")
        os.chmod(counter, 0o666)
        self.what = "command = %s\nenv.COUNTER_FILE = %s" % (
            os.path.join(self.directory, "counter"), counter)
        return super().configuration()


class PhpFpm(System):
    name = "php-fpm static"
    stop_signal = signal.SIGQUIT

    @classmethod
    def binary(cls):
        return next(iter(sorted(glob.glob("/usr/sbin/php-fpm*"), reverse=True)), None)

    @classmethod
    def is_there(cls):
        return cls.binary() is not None

    def command(self):
        user = "user = %s\ngroup = %s\n" % (USER, GROUP) if AS_ROOT else ""
        self.write(".conf", (
            "[global]\nerror_log = %s\ndaemonize = no\n[www]\nlisten = %s\nlisten.mode = 0666\n"
            "listen.backlog = %d\n%spm = static\npm.max_children = %d\n"
            "php_admin_value[expose_php] = 0\n") %
            (self.path(".log"), self.address, BACKLOG, user, self.workers))
        return [self.binary(), "-F", "-R", "-y", self.path(".conf"), "-d", "apc.enabled=1"]


class Uwsgi(System):
    name = "uWSGI"
    most_workers = 64  # a thousand take it half a minute
    keeps = False
    shares = False
    program = "uwsgi"

    def command(self):
        user = ["--uid", USER, "--gid", GROUP, "--master-as-root"] if AS_ROOT else []
        return ["uwsgi", "--plugin", "python3", "--master", "--die-on-term", "--disable-logging",
                "--processes", str(self.workers), "--listen", str(BACKLOG), "--need-app",
                "--chmod-socket=666", "--fastcgi-socket", self.address, *user,
                "--wsgi-file", os.path.join(self.directory, "counter_wsgi.py")]


ALL = [Limit, Preforkd, PreforkdCommand, Multiwatch, PhpFpm, PerlProcManager, Uwsgi]


def free_address(directory, kind, number):
    if kind == "unix":
        return os.path.join(directory, "%d.sock" % number)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return "127.0.0.1:%d" % s.getsockname()[1]
