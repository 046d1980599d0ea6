"""make run: a clean tree, one command, a counter in the browser; and nothing is left when it ends."""

import glob
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile

import pytest

from daemon import IS_ROOT, TOP, alive, children, free_port, processes_of, read, status, \
    title, wait_for
from webserver import fetch

NOBODY = 65534


@pytest.fixture(scope="module")
def clean_tree():
    """What a clone would have: no build, nothing that git ignores."""
    top = tempfile.mkdtemp(prefix="preforkd-clean-", dir="/tmp")
    shutil.copytree(TOP, top, dirs_exist_ok=True, ignore=shutil.ignore_patterns(
        "build", ".git", "__pycache__", ".pytest_cache"))
    if IS_ROOT:
        subprocess.run(["chown", "-R", "%d:%d" % (NOBODY, NOBODY), top], check=True)
    yield top
    shutil.rmtree(top)


class Run:
    """One make run; leaves the with block ended, and checks that nothing is left behind."""

    def __init__(self, top, user=None, port=None):
        # its temporary directory is in here, so the titles of all that it starts name it
        self.dir = tempfile.mkdtemp(prefix="preforkd-run-", dir="/tmp")
        os.chmod(self.dir, 0o755)
        if user is not None:
            os.chown(self.dir, user, user)
        self.output = os.path.join(self.dir, "output")
        self.seen = set()
        self.url = None
        # compiled for this look alone: on all processors, and not for speed
        environment = {**os.environ, "TMPDIR": self.dir, "PREFORKD_TEST": self.dir,
                       "MAKEFLAGS": "-j%d" % os.cpu_count(), "CFLAGS": "-O0 -U_FORTIFY_SOURCE"}
        environment.pop("PORT", None)
        if port is not None:
            environment["PORT"] = str(port)
        with open(self.output, "w", encoding="utf-8") as out:
            # a group of its own, as the shell of a terminal makes one
            self.make = subprocess.Popen(["make", "run"], cwd=top, env=environment, user=user,
                                         group=user, extra_groups=None if user is None else [],
                                         start_new_session=True, stdout=out, stderr=out,
                                         stdin=subprocess.DEVNULL)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            if self.make.poll() is None:
                self.interrupt()
            wait_for(lambda: not self.look(), 10, "processes to go: %s" %
                     [title(p) for p in self.look()])
            if kind is None:
                assert os.listdir(self.dir) == ["output"]
                if self.url:
                    with pytest.raises(OSError):
                        fetch(self.url, timeout=5)
        finally:
            for pid in self.look():
                os.kill(pid, signal.SIGKILL)
            if kind is not None:
                print(self.said())
            shutil.rmtree(self.dir, ignore_errors=True)

    def said(self):
        return read(self.output)

    def look(self):
        """All that it has started and that lives; workers are known by having been seen."""
        found = set(processes_of(self.dir))
        self.seen |= found | {w for p in found for w in children(p)}
        self.seen = {p for p in self.seen if alive(p)}
        return sorted(self.seen)

    def workers(self):
        return [p for p in self.look() if "worker" in title(p)]

    def wait_ready(self):
        wait_for(lambda: "Ctrl-C" in self.said() or self.make.poll() is not None, 120, "make run")
        assert self.make.poll() is None, self.said()
        self.url = re.search(r"^open\s+(http://127\.0\.0\.1:\d+/)", self.said(), re.M).group(1)
        return self

    def number(self):
        return int(fetch(self.url))

    def master(self):
        """The pid that it says to send SIGHUP to."""
        return int(re.search(r"kill -HUP (\d+)", self.said()).group(1))

    def served_by(self):
        """The master's workers; its gate is none."""
        return {p for p in children(self.master()) if "gate" not in title(p)}

    def nginx(self):
        return next(p for p in self.look() if title(p).startswith("nginx: master"))

    def interrupt(self, signo=signal.SIGINT):
        """As Ctrl-C does: to the whole group."""
        os.killpg(self.make.pid, signo)
        self.make.wait(60)


def counts(run):
    first = run.number()
    assert [run.number() for _ in range(5)] == list(range(first + 1, first + 6))


def test_counts_until_interrupted(clean_tree):
    """The port that was asked for, the count, the reload that it names, and Ctrl-C."""
    port = free_port()
    with Run(clean_tree, port=port) as run:
        run.wait_ready()
        assert run.url == "http://127.0.0.1:%d/" % port
        counts(run)
        run.look()
        log = re.search(r"^log\s+tail -f (\S+)", run.said(), re.M).group(1)
        page = re.search(r"^status\s+(http://127\.0\.0\.1:\d+/)", run.said(), re.M).group(1)
        status_of = json.loads(fetch(page + "status"))
        workers = run.served_by()
        assert {w["pid"] for w in status_of["pools"][0]["list"]} == workers
        os.kill(run.master(), signal.SIGHUP)
        wait_for(lambda: "reload 1 done" in read(log))
        wait_for(lambda: not workers & run.served_by())
        counts(run)
        run.interrupt()


@pytest.mark.root
def test_as_ordinary_user(clean_tree):
    with Run(clean_tree, user=NOBODY, port=free_port()) as run:
        run.wait_ready()
        assert len(run.workers()) > 4
        assert {status(p, "Uid").split()[0] for p in run.look()} == {str(NOBODY)}
        counts(run)
        run.interrupt()


def test_two_at_once(clean_tree):
    """Without PORT the second finds another."""
    with Run(clean_tree) as one:
        one.wait_ready()
        with Run(clean_tree) as two:
            two.wait_ready()
            assert one.url != two.url
            counts(one)
            counts(two)
            two.interrupt(signal.SIGTERM)
        counts(one)


def test_port_that_is_taken(clean_tree):
    """A port that was asked for is not silently another."""
    with Run(clean_tree) as one:
        port = int(one.wait_ready().url.rsplit(":", 1)[1].strip("/"))
        with Run(clean_tree, port=port) as two:
            assert two.make.wait(60) != 0
            assert "does not serve on 127.0.0.1:%d" % port in two.said()
        counts(one)


@pytest.mark.parametrize("victim", ["preforkd", "nginx"])
def test_one_is_killed(clean_tree, victim):
    """kill -9 of one ends the other, and it says who died."""
    with Run(clean_tree, port=free_port()) as run:
        run.wait_ready()
        counts(run)
        assert len(run.workers()) > 4  # those of both
        os.kill(run.master() if victim == "preforkd" else run.nginx(), signal.SIGKILL)
        assert run.make.wait(60) != 0
        assert "run: %s has died" % victim in run.said()
        assert not run.look()


def test_interrupted_while_it_starts(clean_tree):
    """From its first trace on, a Ctrl-C is never forgotten: six times, as each meets another moment."""
    for _ in range(6):
        with Run(clean_tree, port=free_port()) as run:
            wait_for(lambda: glob.glob(run.dir + "/preforkd-run.*"), 120, "a directory")
            run.interrupt()
