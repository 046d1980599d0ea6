"""What workers write to stdout and stderr: whole lines, escaped, with pool and pid, never blocking."""

import os
import re
import signal

import pytest

import fcgi
from daemon import often, read, wait_for

SHELL = "/bin/sh -c '%s; exec %s/plain'"


def started(daemon, apps, script, **keys):
    daemon.write(daemon.pool(command=SHELL % (script, apps), workers=1, **keys))
    daemon.start()
    return daemon.workers()[0]


@pytest.mark.quick
def test_lines_with_pool_and_pid(daemon, apps):
    pid = started(daemon, apps, "echo to stdout; echo to stderr >&2; printf unfinished")
    assert fcgi.get(daemon.sock)
    daemon.wait_log(r"notice: pool www: worker %d: to stdout\n" % pid)
    daemon.wait_log(r"notice: pool www: worker %d: to stderr\n" % pid)
    assert "unfinished" not in daemon.read_log()
    os.kill(pid, signal.SIGKILL)
    daemon.wait_log(r"worker %d: unfinished\n" % pid)


@pytest.mark.quick
def test_foreign_bytes_are_escaped(daemon, apps):
    """No escape sequence, forged line or NUL of a worker reaches the operator's terminal."""
    started(daemon, apps, r'printf "a\033[2Jb\rc\tforged\010\000x\377\n"')
    daemon.wait_log("forged")
    with open(daemon.log, "rb") as f:
        log = f.read()
    line = [l for l in log.split(b"\n") if b"forged" in l][0]
    assert all(32 <= b < 127 or b == 9 for b in line), line
    assert b"\\033" in line or b"\\^[" in line, line


@pytest.mark.quick
def test_long_lines_are_split_and_complete(daemon, apps):
    started(daemon, apps, "head -c 5000 /dev/zero | tr \"\\000\" x; echo end")
    daemon.wait_log("xend\n")
    got = "".join(re.findall(r"worker \d+: (x+(?:end)?)\n", daemon.read_log()))
    assert got == "x" * 5000 + "end"


def test_floods_are_cut_and_counted(daemon, apps):
    """A pool that writes without end neither fills the log nor keeps the master from its work."""
    daemon.write(daemon.pool("good", workers=1),
                 daemon.pool("loud", listen=daemon.dir + "/loud.sock", workers=1,
                             command=SHELL % ("(while :; do echo flood; done) & true", apps)))
    daemon.start()
    daemon.wait_log(r"pool loud: \d+ lines of output dropped")
    assert fcgi.number(daemon.sock) == 1
    assert daemon.reload(limit=60) == "ok"
    for pid in daemon.workers("good"):
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: fcgi.number(daemon.sock) > 1)
    assert daemon.read_log().count("flood\n") < 60000


def test_full_pipe_does_not_block_the_worker(daemon, apps):
    """The master is stopped and cannot read: a worker that writes megabytes serves on."""
    daemon.write(daemon.pool(module=apps + "/module_echo", workers=1))
    daemon.start()
    os.kill(daemon.pid, signal.SIGSTOP)
    try:
        for _ in range(200):
            assert fcgi.body_of(fcgi.get(daemon.sock, b"b", PRINT="x" * 4000)) == b"b"
    finally:
        os.kill(daemon.pid, signal.SIGCONT)
    assert fcgi.get(daemon.sock)


@pytest.mark.quick
def test_output_to_a_file(daemon, apps):
    path = os.path.join(daemon.dir, "output.log")
    pid = started(daemon, apps, "echo hello", output=path)
    wait_for(lambda: "pool www: worker %d: hello\n" % pid in read(path))
    assert "hello" not in daemon.read_log()
    assert oct(os.stat(path).st_mode & 0o777) in ("0o640", "0o600")


@pytest.mark.quick
def test_output_to_null(daemon, apps):
    pid = started(daemon, apps, "echo hello", output="null")
    assert os.readlink("/proc/%d/fd/1" % pid) == "/dev/null"
    assert fcgi.get(daemon.sock) and "hello" not in daemon.read_log()


def test_output_file_that_cannot_be_written(daemon, apps):
    daemon.write(daemon.pool(output=daemon.dir + "/none/out"))
    done = daemon.run("-c", daemon.conf)
    assert done.returncode == 73 and "/none/out" in done.stderr
    daemon.check_nothing_left()


def test_full_disk(daemon, apps):
    """A log that cannot be written (/dev/full) stops nothing."""
    daemon.write(daemon.pool(command=SHELL % ("echo hello", apps), workers=1, output="/dev/full"))
    done = daemon.run("-c", daemon.conf)
    if done.returncode == 0:
        daemon.pid = int(read(daemon.pidfile))
        assert fcgi.get(daemon.sock) and daemon.reload() == "ok"
    else:
        assert done.returncode == 73 and "/dev/full" in done.stderr


@pytest.mark.root
def test_full_disk_for_the_log(daemon):
    """A tmpfs that is full: requests, reloads and deaths go on."""
    import subprocess
    place = os.path.join(daemon.dir, "small")
    os.mkdir(place)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], check=False,
                      capture_output=True).returncode != 0:
        pytest.skip("cannot mount here")
    try:
        daemon.write(daemon.pool(), log=place + "/log")
        daemon.start()
        with open(place + "/fill", "wb", buffering=0) as f:
            try:
                while True:
                    f.write(b"x" * 4096)
            except OSError:
                pass
        for _ in range(often(5, 50)):
            os.kill(daemon.workers()[0], signal.SIGKILL)
            assert daemon.reload() == "ok"
            assert fcgi.get(daemon.sock)
        daemon.end()
    finally:
        subprocess.run(["umount", place], check=True)


def test_log_to_syslog_needs_no_syslogd(daemon):
    daemon.write(daemon.pool(), log="syslog")
    daemon.start()
    assert fcgi.get(daemon.sock) and daemon.reload() == "ok"


@pytest.mark.quick
def test_log_level(daemon, apps):
    daemon.write(daemon.pool(command=SHELL % ("echo hello", apps)), log_level="warning")
    daemon.start()
    assert fcgi.get(daemon.sock)
    assert "notice" not in daemon.read_log() and "hello" not in daemon.read_log()
