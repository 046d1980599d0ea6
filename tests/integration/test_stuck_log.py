"""Whoever should read what the master says does not: workers are replaced all the same."""

import os
import pty
import signal
import socket
import subprocess
import termios

import pytest

import fcgi
from daemon import BINARY, title, wait_for


def kill_again_and_again(daemon, times):
    """One of two workers, each time that both are ready: those that do not become so come back later
    each time."""
    for _ in range(times):
        before = set(daemon.workers())
        os.kill(min(before), signal.SIGKILL)
        wait_for(lambda: sum(title(p).endswith(" idle") for p in daemon.workers()) == 2 and
                 set(daemon.workers()) != before)


def test_terminal_that_stands_still_does_not_stop_the_master(daemon):
    """Ctrl-S in the terminal of preforkd -F: workers are still replaced."""
    master, slave = pty.openpty()
    daemon.write(daemon.pool(workers=2))
    p = subprocess.Popen([BINARY, "-F", "-c", daemon.conf], stderr=slave, stdin=slave,
                         env=daemon.environment())
    daemon.process, daemon.pid = p, p.pid
    wait_for(lambda: len(daemon.workers("www")) == 2 and os.path.exists(daemon.pidfile))
    assert fcgi.number(daemon.sock) == 1
    termios.tcflow(slave, termios.TCOOFF)
    kill_again_and_again(daemon, 30)
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
    kill_again_and_again(daemon, 10)
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
            before = set(daemon.wait_workers(2))
            for pid in before:
                os.kill(pid, signal.SIGKILL)
            wait_for(lambda: len(set(daemon.workers()) - before) == 2)
            daemon.end()
        finally:
            os.unlink("/dev/log")
