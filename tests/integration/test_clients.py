"""Clients that are slow, many, wrong, or in a hurry: what they get, and that nobody else waits."""

import errno
import os
import select
import socket
import statistics
import threading
import time

import pytest

import fcgi
from daemon import free_port, make, wait_for
from load import Load
from records import (CANT_MPX, COMPLETE, GET_VALUES, GET_VALUES_RESULT, UNKNOWN_ROLE, UNKNOWN_TYPE,
                     ask, begin, ended, head, is_whole_answer, protocol_status, read_records,
                     record, stdout)
from test_handover import answers, echo, unread


def refuses(sock, data):
    """The other end has closed it, perhaps only when this is sent."""
    try:
        sock.sendall(data)
    except OSError:
        return True
    return fcgi.is_closed(sock)


@pytest.mark.quick
@pytest.mark.parametrize("network", ["unix", "tcp"])
def test_slow_and_silent_clients_hold_nobody(daemon, network):
    """200 connections, each silent or in the middle of its parameters, and four workers."""
    address = daemon.sock if network == "unix" else "127.0.0.1:%d" % free_port()
    daemon.write(daemon.pool(listen=address))
    daemon.start()
    whole = head()
    slow = [fcgi.connect(address) for _ in range(200)]
    for i, s in enumerate(slow):
        s.sendall(whole[:i % len(whole)])
    asked = [fcgi.number(address, timeout=2.0) for _ in range(20)]
    for i, s in enumerate(slow):  # one byte more each
        s.sendall(whole[i % len(whole):i % len(whole) + 1])
    asked += [fcgi.number(address, timeout=2.0) for _ in range(20)]
    for i, s in enumerate(slow):
        s.sendall(whole[i % len(whole) + 1:] + record(fcgi.STDIN))
        answer = stdout(read_records(s, ended))
        asked.append(int(fcgi.body_of(answer)))
        s.close()
    assert sorted(asked) == list(range(1, 241))


def seconds_to_ask(address):
    began = time.monotonic()
    fcgi.number(address)
    return time.monotonic() - began


@pytest.mark.parametrize("between", [1, 12])
def test_worker_does_not_wait_for_silent_newcomers_again_and_again(daemon, between):
    """Over TCP the first bytes of a connection have a moment; many that say nothing cost no more than
    a few of them, though others speak at once between them. Requests behind one that is silent, beside
    requests that have the worker alone."""
    address = "127.0.0.1:%d" % free_port()
    daemon.write(daemon.pool(listen=address, workers=1))
    daemon.start()
    alone, behind = [], []
    for _ in range(60):
        alone += [seconds_to_ask(address) for _ in range(between)]
        with fcgi.connect(address) as silent:
            behind.append(seconds_to_ask(address))
            silent.shutdown(socket.SHUT_WR)
            silent.recv(1)  # the worker has dropped it
    assert statistics.median(behind) < 4 * statistics.median(alone)


@pytest.mark.quick
def test_newcomers_that_speak_in_time_do_not_hide_others(daemon, apps):
    """One that has said nothing yet, then a longer request, and so on, at one address: each speaks
    just before it would be waited for, so that nothing else would ever be looked at."""
    other = daemon.dir + "/other.sock"
    echo(daemon, apps, workers=1, listen=daemon.sock + " " + other, listen_mode="0666")
    gate = daemon.gate()
    first, *clients = [fcgi.Connection(daemon.sock) for _ in range(41)]
    first.sock.sendall(fcgi.message(UNTIL=gate))
    wait_for(lambda: daemon.busy() == 1)
    silent, longer = clients[::2], clients[1::2]
    for c in longer:
        c.sock.sendall(fcgi.message(SLEEP_MS="20"))
    make(gate)
    first.answer()
    with fcgi.Connection(other) as c:
        c.sock.sendall(fcgi.message(b"other"))
        for turns, s in enumerate(silent):
            wait_for(lambda: not unread(longer[turns].sock))  # pylint: disable=cell-var-from-loop
            s.request()
            if select.select([c.sock], [], [], 0)[0]:
                break
        assert fcgi.body_of(c.answer()[0]) == b"other"
    assert turns < 5
    for c in [first, *clients]:
        c.close()


@pytest.mark.quick
def test_trickling_parameters_end_by_receive_timeout(daemon):
    """However fast the bytes come: the whole head has one time."""
    daemon.write(daemon.pool(workers=1, receive_timeout="300ms"))
    daemon.start()
    with fcgi.connect(daemon.sock) as silent, fcgi.connect(daemon.sock) as trickle:
        trickle.sendall(begin())
        began = time.monotonic()
        wait_for(lambda: refuses(trickle, record(fcgi.PARAMS, b"\1\0a")))
        assert 0.25 < time.monotonic() - began < 10
        wait_for(lambda: fcgi.is_closed(silent))
    assert fcgi.number(daemon.sock) == 1


@pytest.mark.quick
def test_trickling_parameters_that_go_round_end_by_receive_timeout(daemon, apps):
    """All workers are busy, and each byte brings the connection to another of them: it has one time."""
    echo(daemon, apps, workers=2, receive_timeout="500ms")
    with Load(3, lambda _: fcgi.get(daemon.sock, SLEEP_MS="60")), fcgi.connect(daemon.sock) as s:
        began = time.monotonic()
        s.sendall(begin())
        wait_for(lambda: refuses(s, record(fcgi.PARAMS, b"\1\0a")))
        assert 0.4 < time.monotonic() - began < 5


@pytest.mark.quick
@pytest.mark.parametrize("kept", [False, True])
def test_request_that_comes_in_time_to_a_busy_worker(daemon, apps, kept):
    """keepalive-timeout or receive-timeout passes while nobody can read it; it is answered."""
    echo(daemon, apps, workers=1, receive_timeout="300ms", keepalive_timeout="300ms")
    gate, whole = daemon.gate(), fcgi.message(b"abc", keep=True)
    with fcgi.Connection(daemon.sock) as c, fcgi.Connection(daemon.sock) as busy:
        if kept:
            c.request(b"x", keep=True)
        else:
            c.sock.sendall(whole[:30])
            whole = whole[30:]
        busy.sock.sendall(fcgi.message(UNTIL=gate))
        wait_for(lambda: daemon.busy() == 1)
        c.sock.sendall(whole)
        time.sleep(0.5)  # its time is over
        make(gate)
        assert fcgi.body_of(c.answer()[0]) == b"abc"
        busy.answer()


def test_pause_in_the_body_ends_by_receive_timeout(daemon, apps):
    """The application sees a body that is cut, and the connection is closed."""
    echo(daemon, apps, workers=1, receive_timeout="300ms")
    with fcgi.connect(daemon.sock) as s:
        s.sendall(head(keep=True, CONTENT_LENGTH="100") + record(fcgi.STDIN, b"half"))
        records = read_records(s)  # to its close
    assert b"X-Error: %d\r\n" % errno.ETIMEDOUT in stdout(records)
    assert stdout(records).endswith(b"half")
    assert fcgi.body_of(fcgi.get(daemon.sock, b"x")) == b"x"


def test_body_that_comes_in_pieces_is_waited_for(daemon, apps):
    """Longer than receive-timeout in all, never between two pieces."""
    echo(daemon, apps, workers=1, receive_timeout="1s")
    with fcgi.connect(daemon.sock) as s:
        s.sendall(head(CONTENT_LENGTH="30"))
        for _ in range(30):
            s.sendall(record(fcgi.STDIN, b"x"))
            time.sleep(0.05)  # the pace is what is tested
        s.sendall(record(fcgi.STDIN))
        assert fcgi.body_of(stdout(read_records(s))) == b"x" * 30


@pytest.mark.quick
def test_max_head(daemon, apps):
    """Up to the last byte; one more is refused with a status, and the log says so."""
    echo(daemon, apps, max_head="4K", workers=1)
    fill = 4096 - len(fcgi.pairs({"REQUEST_METHOD": "GET", "SCRIPT_NAME": "/", "FILL": "x" * 1000}))
    fits = head(FILL="x" * (1000 + fill)) + record(fcgi.STDIN)
    assert stdout(ask(daemon.sock, fits)).startswith(b"Content-Type: application/octet-stream")
    for size in (1001 + fill, 100000):
        with fcgi.connect(daemon.sock) as s:
            data = begin()
            content = fcgi.pairs({"REQUEST_METHOD": "GET", "SCRIPT_NAME": "/", "FILL": "x" * size})
            for at in range(0, len(content), 60000):
                data += record(fcgi.PARAMS, content[at:at + 60000])
            s.sendall(data)
            records = read_records(s)
            assert stdout(records).startswith(b"Status: 431 "), records
            assert protocol_status(records) == [(1, COMPLETE)] and is_whole_answer(records)
    daemon.wait_log("more than 4096 bytes of parameters was refused, see max-head")
    assert stdout(ask(daemon.sock, fits)).startswith(b"Content-Type: application/octet-stream")


@pytest.mark.quick
def test_pipelined_requests(daemon, apps):
    """Several requests in one write, with bodies: all are answered, in their order."""
    echo(daemon, apps, workers=2)
    bodies = [b"", b"a", b"b" * 3000, os.urandom(70000), b"", b"end"]
    data = b""
    for i, body in enumerate(bodies):
        data += fcgi.message(body, keep=i < len(bodies) - 1)
    with fcgi.connect(daemon.sock) as s:
        sender = threading.Thread(target=s.sendall, args=(data,))
        sender.start()
        records = read_records(s)
        sender.join()
    assert protocol_status(records) == [(1, COMPLETE)] * len(bodies)
    answers, current = [], b""
    for kind, _, content in records:
        current += content if kind == fcgi.STDOUT else b""
        if kind == fcgi.END:
            answers.append(fcgi.body_of(current))
            current = b""
    assert answers == bodies


@pytest.mark.quick
def test_get_values(daemon):
    daemon.write(daemon.pool(workers=3, max_connections=100))
    daemon.start()
    with fcgi.connect(daemon.sock) as s:
        names = fcgi.pairs({"FCGI_MAX_CONNS": "", "FCGI_MAX_REQS": "x" * 200, "FCGI_MPXS_CONNS": "",
                            "SOMETHING": "else"})
        for content in (names, names * 200):
            s.sendall(record(GET_VALUES, content, 0, 255))
            (kind, request, values), = read_records(s, lambda *_: True)
            assert (kind, request) == (GET_VALUES_RESULT, 0)
            assert values == fcgi.pairs({"FCGI_MAX_CONNS": "300", "FCGI_MAX_REQS": "3",
                                         "FCGI_MPXS_CONNS": "0"})
        s.sendall(fcgi.message())  # and the connection is as good as before
        assert stdout(read_records(s)).endswith(b"\n1\n")


@pytest.mark.quick
def test_unknown_types_and_roles(daemon):
    daemon.write(daemon.pool(workers=1))
    daemon.start()
    with fcgi.connect(daemon.sock) as s:
        s.sendall(record(77, b"whatever", 0))
        assert read_records(s, lambda *_: True) == [(UNKNOWN_TYPE, 0, b"\x4d" + bytes(7))]
        for role in (2, 3, 77):
            s.sendall(begin(5, role, keep=True) + record(fcgi.PARAMS, b"", 5) +
                      record(fcgi.STDIN, b"", 5))
            assert protocol_status(read_records(s, ended)) == [(5, UNKNOWN_ROLE)]
        s.sendall(fcgi.message(keep=True))
        assert stdout(read_records(s, ended)).endswith(b"\n1\n")
    assert protocol_status(ask(daemon.sock, begin(5, 2))) == [(5, UNKNOWN_ROLE)]  # and closed


@pytest.mark.quick
def test_second_request_while_one_runs(daemon, apps):
    """No multiplexing: the second is refused, the first one goes on."""
    echo(daemon, apps, workers=1)
    with fcgi.connect(daemon.sock) as s:
        s.sendall(begin(1) + head(2) + record(fcgi.STDIN, b"", 2))
        assert protocol_status(read_records(s, ended)) == [(2, CANT_MPX)]
        s.sendall(head(1)[16:] + record(fcgi.STDIN, b"abc") + head(3) + record(fcgi.STDIN))
        records = read_records(s)
        assert fcgi.body_of(stdout(records)) == b"abc"
        assert sorted(protocol_status(records)) == [(1, COMPLETE), (3, CANT_MPX)]


@pytest.mark.quick
def test_abort(daemon, apps):
    """Before, within and after the body; each ends the request, and the connection serves on."""
    echo(daemon, apps, workers=1)
    abort = record(fcgi.ABORT)
    with fcgi.connect(daemon.sock) as s:
        s.sendall(begin(keep=True) + abort)
        assert protocol_status(read_records(s, ended)) == [(1, COMPLETE)]
        s.sendall(head(keep=True) + abort)
        records = read_records(s, ended)
        assert b"X-Error: " in stdout(records) and protocol_status(records) == [(1, COMPLETE)]
        s.sendall(head(keep=True) + record(fcgi.STDIN, b"part") + abort)
        records = read_records(s, ended)
        assert b"X-Error: " in stdout(records) and stdout(records).endswith(b"part")
        s.sendall(head(keep=True) + record(fcgi.STDIN, b"all") + record(fcgi.STDIN) + abort)
        records = read_records(s, ended)
        assert b"X-Error" not in stdout(records) and stdout(records).endswith(b"all")
        s.sendall(fcgi.message(b"more"))
        assert fcgi.body_of(stdout(read_records(s))) == b"more"
    with fcgi.connect(daemon.sock) as s:
        s.sendall(begin() + abort)
        assert protocol_status(read_records(s)) == [(1, COMPLETE)]


@pytest.mark.quick
def test_client_that_leaves_within_its_body(daemon, apps):
    echo(daemon, apps, workers=1)
    with fcgi.connect(daemon.sock) as s:
        s.sendall(head(CONTENT_LENGTH="100") + record(fcgi.STDIN, b"half"))
        s.shutdown(socket.SHUT_WR)
        assert b"X-Error: %d\r\n" % errno.ECONNRESET in stdout(read_records(s))
    assert fcgi.body_of(fcgi.get(daemon.sock, b"x")) == b"x"


@pytest.mark.quick
def test_lengths_and_padding(daemon, apps):
    """Records of 0, 1 and 65535 bytes, with the most padding there is, in each stream."""
    echo(daemon, apps, workers=1, max_head="1M")
    for size in (1, 7, 8, 65535):
        body = os.urandom(size)
        value = fcgi.pairs({"LARGE": "x" * 200000})
        params = [value[at:at + size] for at in range(0, len(value), size)] if size > 8 else \
            [value[:3], value[3:4], value[4:60000]] + [value[60000:120000], value[120000:180000],
                                                      value[180000:]]
        data = begin() + b"".join(record(fcgi.PARAMS, p, padding=255) for p in params) + \
            record(fcgi.PARAMS, padding=255) + record(fcgi.STDIN, body, padding=255) * 3 + \
            record(fcgi.STDIN, padding=255)
        assert fcgi.body_of(stdout(ask(daemon.sock, data))) == body * 3


@pytest.mark.quick
@pytest.mark.parametrize("family", ["unix", "tcp"])
def test_byte_by_byte(daemon, apps, family):
    port = free_port()
    address = daemon.sock if family == "unix" else "127.0.0.1:%d" % port
    echo(daemon, apps, listen=address, listen_mode="0666")
    body = os.urandom(300)
    with fcgi.connect(address) as s:
        if family == "tcp":
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in fcgi.message(body, keep=True) + fcgi.message(body[::-1]):
            s.send(bytes([byte]))
        records = read_records(s)
    assert protocol_status(records) == [(1, COMPLETE)] * 2
    assert body in stdout(records) and stdout(records).endswith(body[::-1])


@pytest.mark.quick
def test_padding_behind_the_end_of_the_body(daemon, apps):
    """It arrives when all is answered, and before the answer is read: that is whole all the same."""
    address = "127.0.0.1:%d" % free_port()
    echo(daemon, apps, workers=1, listen=address)
    body = os.urandom(300000)
    message = head(CONTENT_LENGTH=str(len(body)))
    for at in range(0, len(body), 32768):
        message += record(fcgi.STDIN, body[at:at + 32768])
    end = record(fcgi.STDIN, padding=255)
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)  # the rest waits at the other end
        s.settimeout(20)
        s.connect(("127.0.0.1", int(address.rpartition(":")[2])))
        s.sendall(message)
        wait_for(lambda: daemon.busy() == 1)
        s.sendall(end[:8])
        wait_for(lambda: daemon.busy() == 0)
        for at in range(8, len(end), 50):
            s.sendall(end[at:at + 50])
        assert fcgi.body_of(stdout(read_records(s))) == body


def test_client_that_does_not_read_its_answer(daemon, apps):
    """send-timeout: the worker is free again, and the connection closed."""
    echo(daemon, apps, workers=1, send_timeout="300ms")
    with fcgi.connect(daemon.sock) as s:
        s.setblocking(False)
        body = b"x" * (8 << 20)
        data = memoryview(fcgi.message(body))
        while data:
            select.select([], [s], [], 20)
            data = data[s.send(data):]
        assert fcgi.body_of(fcgi.get(daemon.sock, b"next")) == b"next"
        s.setblocking(True)
        with pytest.raises((AssertionError, ConnectionError)):  # the answer is cut
            assert protocol_status(read_records(s)) == [(1, COMPLETE)]


def test_slow_reader_gets_all(daemon, apps):
    """A client that reads in small pieces, with pauses shorter than send-timeout."""
    echo(daemon, apps, workers=1, send_timeout="5s")
    body = os.urandom(2 << 20)
    with fcgi.connect(daemon.sock) as s:
        s.sendall(fcgi.message(body))
        time.sleep(0.3)  # until the socket is full
        assert fcgi.body_of(stdout(read_records(s))) == body


def test_reader_that_is_always_slow_gets_all(daemon, apps):
    """It takes a little again and again, for longer than send-timeout until there is much room."""
    address = "127.0.0.1:%d" % free_port()
    echo(daemon, apps, workers=1, listen=address, send_timeout="2s")
    body = os.urandom(8 << 20)
    with fcgi.Connection(address) as c:
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        c.sock.sendall(fcgi.message(body))
        began = time.monotonic()
        while time.monotonic() - began < 6:
            c.data += c.sock.recv(65536)
            time.sleep(0.1)
        assert fcgi.body_of(c.answer()[0]) == body


def test_unfinished_requests_survive_a_reload(daemon, apps):
    """A client in the middle of its parameters does not see that the workers are others."""
    echo(daemon, apps, workers=2)
    whole = head(VALUE="x" * 1000)
    cuts = [8, 16, 20, 24, 500, len(whole) - 1]
    clients = [fcgi.connect(daemon.sock) for _ in cuts]
    for s, at in zip(clients, cuts):
        s.sendall(whole[:at])
    assert fcgi.body_of(fcgi.get(daemon.sock, b"x")) == b"x"
    before = set(daemon.workers())
    for _ in range(3):
        daemon.reload_well()
    wait_for(lambda: not before & set(daemon.workers()))
    for s, at in zip(clients, cuts):
        s.sendall(whole[at:] + record(fcgi.STDIN, b"body") + record(fcgi.STDIN))
        assert fcgi.body_of(stdout(read_records(s))) == b"body"
        s.close()


@pytest.mark.quick
def test_idle_worker_gets_what_a_busy_one_reads(daemon, apps):
    """Requests that are completed at the same time do not wait behind each other."""
    echo(daemon, apps, workers=4)
    gate = daemon.gate()
    whole = head(UNTIL=gate)
    clients = [fcgi.connect(daemon.sock) for _ in range(4)]
    for s in clients:
        s.sendall(whole[:-4])
    for s in clients:
        s.sendall(whole[-4:] + record(fcgi.STDIN))
    wait_for(lambda: daemon.busy() == 4)
    make(gate)
    for s in clients:
        assert protocol_status(read_records(s)) == [(1, COMPLETE)]
        s.close()
