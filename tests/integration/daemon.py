"""Runs the real preforkd in a directory of its own and looks at it from outside."""

import atexit
import ctypes
import glob
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARY = os.path.join(TOP, "build", "preforkd")
IS_ROOT = os.geteuid() == 0
SOAK = bool(os.environ.get("PREFORKD_SOAK"))
LIMIT = 30.0


def _public_copy():
    """Programs, modules and scripts where the workers' user can read them: a home may be closed."""
    to = tempfile.mkdtemp(prefix="preforkd-apps-", dir="/tmp")
    for source in glob.glob(os.path.join(TOP, "build", "tests", "*")) + \
            glob.glob(os.path.join(TOP, "tests", "integration", "apps", "*")):
        shutil.copy(source, to)
        os.chmod(os.path.join(to, os.path.basename(source)), 0o755)
    os.chmod(to, 0o755)
    atexit.register(shutil.rmtree, to, ignore_errors=True)
    return to


APPS = _public_copy()


def often(modest, full):
    """A count: modest in make test, the full one in make soak."""
    return full if SOAK else modest


def wait_for(what, limit=LIMIT, why=""):
    """Waits until what() is true and returns its value; never for a time. why: text, or what makes it."""
    end = time.monotonic() + limit
    while True:
        value = what()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError("waited %g s for %s" % (limit, why() if callable(why) else why or what))
        time.sleep(0.005)


def make(path):
    with open(path, "w", encoding="utf-8"):
        pass


def free_port(family=socket.AF_INET):
    with socket.socket(family) as s:
        s.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        return s.getsockname()[1]


def read(path, default=""):
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            return f.read()
    except OSError:
        return default


def status(pid, field):
    m = re.search(r"^%s:[ \t]*(.*)$" % field, read("/proc/%d/status" % pid), re.M)
    return m.group(1) if m else ""


def alive(pid):
    return status(pid, "State")[:1] not in ("", "Z", "X")


def title(pid):
    """The command line; of our own title what stands before the first NUL: behind it is what was left
    of a longer name of the program, and one that is just as long has a blank at its end."""
    line = read("/proc/%d/cmdline" % pid)
    return line.partition("\0")[0].rstrip() if line.startswith("preforkd: ") else line.replace("\0", " ").strip()


def children(pid):
    """Living children of a process."""
    pids = read("/proc/%d/task/%d/children" % (pid, pid)).split()
    return [int(p) for p in pids if alive(int(p))]


def _raw(path):
    """The bytes of a file of /proc; none of a process that has gone, or of another user."""
    try:
        with open(path, "rb", buffering=0) as f:
            return f.read()
    except OSError:
        return b""


def processes_of(directory):
    """Every living process that has the directory in its command line or environment.

    Each test asks, of all processes of the machine: so little is done for one that is not meant.
    """
    found, name = [], directory.encode()
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        pid = int(entry)
        if b"PREFORKD_TEST=" + name in _raw("/proc/%d/environ" % pid) or \
                name in _raw("/proc/%d/cmdline" % pid) and directory in title(pid):
            if alive(pid):
                found.append(pid)
    return found


def open_files(pid):
    """{number: what it is} of the descriptors of a process; one may go while we look."""
    found = {}
    for name in os.listdir("/proc/%d/fd" % pid):
        try:
            found[int(name)] = os.readlink("/proc/%d/fd/%s" % (pid, name))
        except FileNotFoundError:
            pass
    return found


def duplicate(pid, fd):
    """A descriptor of another process, for this one; for root. -1: it has none of that number."""
    pidfd = os.pidfd_open(pid)
    try:
        return ctypes.CDLL(None).syscall(438, pidfd, fd, 0)  # pidfd_getfd(2)
    finally:
        os.close(pidfd)


def sockets(pid):
    """Duplicates of the sockets of a process, by their descriptors there."""
    found = {}
    for name in sorted(map(int, os.listdir("/proc/%d/fd" % pid))):
        fd = duplicate(pid, name)
        if fd < 0:
            continue
        try:
            found[name] = socket.socket(fileno=fd)
        except OSError:
            os.close(fd)
    return found


class Daemon:
    """One preforkd. Leaves the with block stopped, and checks that nothing is left behind."""

    def __init__(self, name="test"):
        self.dir = tempfile.mkdtemp(prefix="preforkd-%s-" % name, dir="/tmp")
        os.chmod(self.dir, 0o755)
        self.conf = os.path.join(self.dir, "preforkd.conf")
        self.pidfile = os.path.join(self.dir, "preforkd.pid")
        self.log = os.path.join(self.dir, "preforkd.log")
        self.sock = os.path.join(self.dir, "www.sock")
        self.binary = BINARY
        self.process = None
        self.pid = None
        self.pids_seen = set()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        clean = False
        try:
            self.end()
            if kind is None:
                self.check_nothing_left()
                clean = True
        finally:
            for pid in [] if clean else processes_of(self.dir):
                os.kill(pid, signal.SIGKILL)
            if kind is not None:
                print(self.read_log()[-6000:])
            shutil.rmtree(self.dir, ignore_errors=True)

    # configuration

    def write(self, *pools, **keys):
        """Writes the configuration: text of pool sections, and keys of [preforkd]."""
        globals_ = {"pid-file": self.pidfile, "log": self.log, "log-level": "debug"}
        globals_.update({k.replace("_", "-"): v for k, v in keys.items()})
        with open(self.conf, "w", encoding="utf-8") as f:
            f.write("[preforkd]\n")
            for name, value in globals_.items():
                f.write("%s = %s\n" % (name, value))
            f.write("".join("\n" + p for p in pools))
        os.chmod(self.conf, 0o644)

    def pool(self, name="www", **keys):
        """The text of one pool; without listen it is on a unix socket of this directory."""
        keys = {"env." + k[4:] if k.startswith("env_") else k.replace("_", "-"): v
                for k, v in keys.items()}
        if "listen" not in keys:
            keys = {"listen": self.sock, "listen-mode": "0666", **keys}
        if not {"app", "module", "command"} & set(keys):
            keys["app"] = "counter"
        return "[pool %s]\n" % name + "".join("%s = %s\n" % (k, v) for k, v in keys.items())

    def script(self, text):
        """The command that runs a Python program of this text."""
        path = os.path.join(self.dir, "program.py")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return "%s %s" % (sys.executable, path)

    # running

    def environment(self, extra=None):
        return {**os.environ, "PREFORKD_TEST": self.dir, **(extra or {})}

    def run(self, *args, env=None, timeout=60, **kw):
        """Runs the command to its end."""
        return subprocess.run([self.binary, *args], capture_output=True, text=True, timeout=timeout,
                              env=self.environment(env), check=False, **kw)

    def start(self, *args, env=None, **kw):
        """Starts it as a daemon; returns when the command says that it serves."""
        done = self.run("-c", self.conf, *args, env=env, **kw)
        assert done.returncode == 0, done.stderr
        self.pid = int(read(self.pidfile))
        return self

    def start_foreground(self, *args, env=None, wait=True, **kw):
        """Starts it with -F, its stderr into the log file."""
        args = args or ("-c", self.conf)
        with open(self.log, "a", encoding="utf-8") as log:
            self.process = subprocess.Popen([self.binary, "-F", *args], stderr=log,
                                            env=self.environment(env), **kw)
        self.pid = self.process.pid
        if wait:
            wait_for(lambda: "serving with" in self.read_log() or self.process.poll() is not None,
                     why="serving")
            assert self.process.poll() is None, self.read_log()
        return self

    def running(self):
        if self.process is not None:
            return self.process.poll() is None
        return self.pid is not None and alive(self.pid)

    def send(self, signo):
        os.kill(self.pid, signo)

    def end(self, signo=signal.SIGTERM, limit=LIMIT):
        """Stops it, if it runs, and waits for its end."""
        if self.running():
            self.send(signo)
            wait_for(lambda: not self.running(), limit, "the master to end")
        code = self.process.wait() if self.process else None
        self.process = self.pid = None
        return code

    def check_nothing_left(self):
        """No process, socket, pidfile or half-made file of it is left."""
        wait_for(lambda: not processes_of(self.dir), 10,
                 lambda: "processes to go: %s" % [title(p) for p in processes_of(self.dir)])
        left = [f for f in glob.glob(self.dir + "/*")
                if f.endswith((".sock", ".pid", ".reload", ".new"))]
        assert not left, left

    # looking

    def read_log(self):
        return read(self.log)

    def wait_log(self, pattern, limit=LIMIT):
        return wait_for(lambda: re.search(pattern, self.read_log()), limit, "log: " + pattern)

    def workers(self, pool=None):
        """Pids of living workers; in-process ones can be asked for by pool."""
        pids = [p for p in children(self.pid) if not title(p).startswith("preforkd: gate")]
        if pool is not None:
            pids = [p for p in pids if (": %s worker" % pool) in title(p)]
        return pids

    def wait_workers(self, count, pool=None, limit=LIMIT):
        wait_for(lambda: len(self.workers(pool)) == count, limit, "%d workers" % count)
        return self.workers(pool)

    def wait_rest(self, most=0):
        """Until the master is hardly woken any more: at most so often in 300 ms."""
        def quiet():
            before = int(status(self.pid, "voluntary_ctxt_switches"))
            time.sleep(0.3)
            return int(status(self.pid, "voluntary_ctxt_switches")) - before <= most
        wait_for(quiet, why="rest")

    def result(self):
        """The last reload as the result file says it: (number, text)."""
        text = read(self.pidfile + ".reload", "0 ").strip()
        n, _, rest = text.partition(" ")
        return int(n), rest

    def reload(self, limit=LIMIT, signo=signal.SIGHUP):
        """SIGHUP, and what became of it."""
        before = self.result()[0]
        self.send(signo)

        def ended():
            """Read once: the next one may begin at once."""
            number, text = self.result()
            return text if number > before and text != "running" else None
        return wait_for(ended, limit, "the reload")

    def upgrade(self, limit=LIMIT):
        """SIGUSR2, and what became of it."""
        return self.reload(limit, signal.SIGUSR2)

    def own_binary(self):
        """A copy of the program in this directory, for a test that replaces it."""
        self.binary = os.path.join(self.dir, "preforkd")
        shutil.copy(BINARY, self.binary)

    def gate(self):
        """A file whose making lets the module's requests with UNTIL go on; unmade now."""
        path = os.path.join(self.dir, "gate")
        if os.path.exists(path):
            os.unlink(path)
        return path

    def busy(self):
        """How many workers inside preforkd have a request in hand."""
        return sum(title(p).endswith(" busy") for p in self.workers())

    def reload_well(self):
        assert self.reload() == "ok"

    def descriptors(self):
        return len(os.listdir("/proc/%d/fd" % self.pid))
