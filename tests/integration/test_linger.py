"""The end of a connection whose client is still sending: it must not cost the client its answer, and
nobody waits for it."""

import contextlib
import select
import socket
import time

import pytest

import fcgi
from daemon import free_port, wait_for
from records import UNKNOWN_ROLE, begin, ended, head, protocol_status, read_records, record, stdout


def module(daemon, apps, **keys):
    daemon.write(daemon.pool(module=apps + "/module_echo", workers=1, **keys))
    return daemon.start()


def seen(sock):
    """The records that are here, and stay to be read."""
    readable, _, _ = select.select([sock], [], [], 0)
    data, found = sock.recv(65536, socket.MSG_PEEK) if readable else b"", []
    while len(data) >= 8:
        found.append((data[1], data[8:8 + int.from_bytes(data[4:6], "big")]))
        data = data[8 + len(found[-1][1]) + data[6]:]
    return found


def begun(address, keep):
    """A connection with a request whose body is not read, and does not end."""
    s = fcgi.connect(address)
    s.sendall(head(keep=keep, NOREAD="1", CONTENT_LENGTH="1000000000"))
    return s


@pytest.mark.parametrize("family", ["unix", "tcp"])
@pytest.mark.parametrize("keep", [False, True])
def test_unread_body_that_comes_slowly(daemon, apps, family, keep):
    """The client gets its answer, and the connection ends: it holds no worker, and does not stay."""
    address = daemon.sock if family == "unix" else "127.0.0.1:%d" % free_port()
    module(daemon, apps, listen=address)
    piece = record(fcgi.STDIN, b"x" * 100)
    with begun(address, keep) as s:
        def answered():
            s.sendall(piece)
            return len(seen(s)) > 0 and seen(s)[-1][0] == fcgi.END

        def closed():
            try:
                s.sendall(piece)
                return False
            except OSError:
                return True
        wait_for(answered)
        s.sendall(piece * 20)  # a closed connection would be reset by that, and the answer lost
        assert fcgi.body_of(fcgi.get(address, b"next")) == b"next"
        began = time.monotonic()
        assert read_records(s)[-1][0] == fcgi.END
        assert time.monotonic() - began < 1.5  # the end is told before the connection is closed
        wait_for(closed)


@pytest.mark.parametrize("keep", [False, True])
def test_unread_body_without_end(daemon, apps, keep):
    """As fast as it can be sent: the answer comes, and after many megabytes the connection is closed."""
    module(daemon, apps)
    sent, piece = 0, record(fcgi.STDIN, bytes(65535)) * 16
    with begun(daemon.sock, keep) as s:
        with contextlib.suppress(OSError):
            while sent < 1 << 30:
                sent += s.send(piece[sent % len(piece):])
        assert 64 << 20 < sent < 256 << 20
        assert read_records(s, ended)[-1][0] == fcgi.END
    assert fcgi.body_of(fcgi.get(daemon.sock, b"next")) == b"next"


@pytest.mark.quick
@pytest.mark.parametrize("family", ["unix", "tcp"])
@pytest.mark.parametrize("told, status, text", [
    (begin() + record(fcgi.ABORT), 0, b""),
    (begin(role=77), UNKNOWN_ROLE, b""),
    (begin() + record(fcgi.PARAMS, b"x" * 5000), 0, b"Status: 431 "),
], ids=["abort", "role", "max-head"])
def test_more_is_sent_after_the_answer(daemon, apps, family, told, status, text):
    """Of requests that never get to the application."""
    address = daemon.sock if family == "unix" else "127.0.0.1:%d" % free_port()
    module(daemon, apps, listen=address, max_head="4K")
    with fcgi.connect(address) as s:
        s.sendall(told)
        wait_for(lambda: seen(s) and seen(s)[-1][0] == fcgi.END)
        for _ in range(20):
            s.sendall(record(fcgi.PARAMS, b"y" * 1000))
        assert fcgi.body_of(fcgi.get(address, b"next")) == b"next"
        records = read_records(s)
    assert protocol_status(records) == [(1, status)] and stdout(records).startswith(text)
