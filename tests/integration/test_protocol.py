"""The table of the protocol (FastCGI specification 1.0), record by record, over unix and TCP.

One preforkd serves all rows, and none of its workers may die of any.
"""

import contextlib
import socket
import struct
import threading

import pytest

import fcgi
from daemon import APPS, Daemon, free_port, wait_for
from records import (AUTHORIZER, CANT_MPX, COMPLETE, DATA, FILTER, GET_VALUES, GET_VALUES_RESULT,
                     RESPONDER, UNKNOWN_ROLE, UNKNOWN_TYPE, begin, ended, head, read_records,
                     record, stdout)

ROLES = {RESPONDER: "RESPONDER", AUTHORIZER: "AUTHORIZER", FILTER: "FILTER"}
STREAMS = {RESPONDER: (fcgi.STDIN,), AUTHORIZER: (), FILTER: (fcgi.STDIN, DATA)}
TYPES = range(1, 12)
ABORTED, PROTOCOL_ERROR, CALL_SEQUENCE = 103, -3, -5  # what FCGX_GetError() says


class Served:
    """The address of each pool, and who serves it."""

    def __init__(self, daemon, port):
        self.daemon = daemon
        self.all = {"unix": daemon.sock, "tcp": "127.0.0.1:%d" % port}
        self.port = port

    def of(self, pool):
        return self.daemon.dir + "/" + pool + ".sock"


@pytest.fixture(scope="module")
def one_daemon():
    with Daemon("protocol") as d:
        port = free_port()
        pools = [d.pool(name, module="%s/module_%s" % (APPS, name), workers=2, listen_mode="0666",
                        listen=d.dir + "/" + name + ".sock")
                 for name in ("authorizer", "calls", "echo", "abi1")]
        d.write(d.pool("all", module=APPS + "/module_filter", workers=2, listen_mode="0666",
                       listen="%s 127.0.0.1:%d" % (d.sock, port), max_connections=10000,
                       max_head="1M"), *pools)
        d.start()
        yield Served(d, port)


@pytest.fixture
def served(one_daemon):
    """Of each row the same workers must come out."""
    before = sorted(one_daemon.daemon.workers())
    yield one_daemon
    assert sorted(one_daemon.daemon.workers()) == before
    wait_for(lambda: one_daemon.daemon.busy() == 0)


@pytest.fixture(params=["unix", "tcp"])
def address(request, served):
    return served.all[request.param]


# What an answer has


def out(role, body=b"", data=b"", started=0, error=0, request=1):
    """What module_filter says, and the end of the request."""
    text = "Content-Type: text/plain\r\n\r\n%d %s %d %d %d %d\n" % (
        role, ROLES[role], started, error, len(body), len(data))
    return [(fcgi.STDOUT, request, text.encode() + body + data), end(request)]


def end(request=1, status=COMPLETE, app_status=0):
    return (fcgi.END, request, struct.pack(">IB3x", app_status, status))


def unknown(kind):
    return (UNKNOWN_TYPE, 0, bytes([kind]) + bytes(7))


def values(**pairs):
    return (GET_VALUES_RESULT, 0, fcgi.pairs(pairs))


def joined(records):
    """Records of a stream put together, without its end; each stream must have had one."""
    found, ends = [], set()
    for kind, request, content in records:
        if kind in (fcgi.STDOUT, fcgi.STDERR) and not content:
            ends.add((kind, request))
        elif found and kind in (fcgi.STDOUT, fcgi.STDERR) and found[-1][:2] == (kind, request):
            found[-1] = (kind, request, found[-1][2] + content)
        else:
            found.append((kind, request, content))
    assert ends >= {r[:2] for r in found if r[0] in (fcgi.STDOUT, fcgi.STDERR)}
    return found


def send(sock, pieces):
    with contextlib.suppress(OSError):  # closed by the other end before all was sent
        for piece in pieces:
            sock.sendall(piece)


def exchange(address, *pieces):
    """All records until the other end closes."""
    with fcgi.connect(address) as s:
        if s.family == socket.AF_INET:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sender = threading.Thread(target=send, args=(s, pieces))
        sender.start()
        try:
            return joined(read_records(s))
        finally:
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
            sender.join()


def streams(role, request=1, body=b"", data=b""):
    """All that follows the head."""
    told = []
    for kind, content in zip(STREAMS[role], (body, data)):
        for at in range(0, len(content), 65535):
            told.append(record(kind, content[at:at + 65535], request))
        told.append(record(kind, b"", request))
    return b"".join(told)


def whole(role=RESPONDER, request=1, body=b"", data=b"", keep=False, **params):
    return head(request, keep, 0, role, **params) + streams(role, request, body, data)


# Records that belong to no request: each is answered or skipped, and a request can follow

PROBE = whole(request=9)
PROBED = out(RESPONDER, request=9)
ALL_VALUES = {"FCGI_MAX_CONNS": "20000", "FCGI_MAX_REQS": "2", "FCGI_MPXS_CONNS": "0"}
BETWEEN = {
    **{"type %d of nobody" % k: (record(k, b"content!", 5), [])
       for k in [0, 12, 255, *TYPES] if k != fcgi.BEGIN},
    **{"type %d as management" % k: (record(k, b"content!", 0, 1), [unknown(k)])
       for k in [0, 12, 255, *TYPES] if k != GET_VALUES},
    "empty management record": (record(77, b"", 0), [unknown(77)]),
    "longest management record": (record(77, bytes(65535), 0, 255), [unknown(77)]),
    "no values": (record(GET_VALUES, b"", 0), [values()]),
    "all values": (record(GET_VALUES, fcgi.pairs(dict.fromkeys(ALL_VALUES, "")), 0, 255),
                   [values(**ALL_VALUES)]),
    **{"value " + n: (record(GET_VALUES, fcgi.pairs({n: ""}), 0), [values(**{n: v})])
       for n, v in ALL_VALUES.items()},
    "value with a value": (record(GET_VALUES, fcgi.pairs({"FCGI_MPXS_CONNS": "x" * 300}), 0),
                           [values(FCGI_MPXS_CONNS="0")]),
    "unknown value": (record(GET_VALUES, fcgi.pairs({"FCGI_MAX_CONN": "", "": "",
                                                     "FCGI_MAX_REQSS": ""}), 0), [values()]),
    "value 3000 times": (record(GET_VALUES, fcgi.pairs({"FCGI_MAX_REQS": ""}) * 3000, 0),
                         [values(FCGI_MAX_REQS="2")]),
    "value with the longest name": (record(GET_VALUES, fcgi.pairs({"x" * 65530: ""}), 0),
                                    [values()]),
    "value that is cut": (record(GET_VALUES, b"\x0d\0FCGI_MAX", 0), [values()]),
    "length that is cut": (record(GET_VALUES, b"\x8d\0", 0), [values()]),
    "many of them": ((record(GET_VALUES, b"", 0) + record(99, b"", 0)) * 50,
                     [values(), unknown(99)] * 50),
    **{"role %d" % r: (begin(5, r, True) + record(fcgi.PARAMS, b"\1\1ab", 5) +
                       record(fcgi.STDIN, b"body", 5) + record(fcgi.STDIN, b"", 5),
                       [end(5, UNKNOWN_ROLE)]) for r in (0, 4, 256, 257, 65535)},
    "abort of what was refused": (begin(5, 4, True) + record(fcgi.ABORT, b"", 5),
                                  [end(5, UNKNOWN_ROLE)]),
}


@pytest.mark.parametrize("row", BETWEEN)
def test_between_requests(address, row):
    """Before the first request of a connection, and again after one."""
    told, answer = BETWEEN[row]
    assert exchange(address, told + PROBE) == answer + PROBED
    assert exchange(address, whole(keep=True) + told + PROBE) == out(RESPONDER) + answer + PROBED


@pytest.mark.parametrize("row", [r for r in BETWEEN if not r.startswith(("role", "abort", "many"))])
@pytest.mark.parametrize("role", ROLES)
def test_within_a_request(address, role, row):
    """At each place between two records of a request: answered, and the request is whole."""
    told, answer = BETWEEN[row]
    pieces = [begin(1, role), record(fcgi.PARAMS, b"\1\1a"), record(fcgi.PARAMS, b"b"),
              record(fcgi.PARAMS)]
    for kind, content in zip(STREAMS[role], (b"bo", b"da")):
        pieces += [record(kind, content), record(kind, content), record(kind)]
    wanted = out(role, *[b"bobo", b"dada"][:len(STREAMS[role])])
    for at in range(1, len(pieces)):
        got = exchange(address, b"".join(pieces[:at] + [told] + pieces[at:]))
        assert sorted(got) == sorted(answer + wanted) and got[-1] == wanted[-1], at


# Records that a request has no place for

HEAD = head()
IN_HEAD = begin() + record(fcgi.PARAMS, b"\1\1ab")
IN_BODY = HEAD + record(fcgi.STDIN, b"half")
ALL_BODY = record(fcgi.STDIN, b"body") + record(fcgi.STDIN)
IN_DATA = head(role=FILTER) + ALL_BODY + record(DATA, b"half")
REFUSED_IN_HEAD = set(TYPES) - {fcgi.ABORT, fcgi.PARAMS, DATA}
REFUSED_IN_BODY = set(TYPES) - {fcgi.ABORT, fcgi.STDIN, DATA}
REFUSED_IN_DATA = set(TYPES) - {fcgi.ABORT, DATA}


def begin_or(kind):
    return begin() if kind == fcgi.BEGIN else record(kind, b"content!")


@pytest.mark.parametrize("kind", [0, 12, 255, *sorted(REFUSED_IN_HEAD)])
def test_wrong_record_in_the_head(address, kind):
    assert exchange(address, IN_HEAD + begin_or(kind)) == []


@pytest.mark.parametrize("kind", [0, 12, 255, *sorted(REFUSED_IN_BODY)])
def test_wrong_record_in_the_body(address, kind):
    """The application hears that its body was cut, and the connection ends with the request."""
    wanted = out(RESPONDER, b"half", error=PROTOCOL_ERROR)
    assert exchange(address, IN_BODY + begin_or(kind) + PROBE) == wanted


@pytest.mark.parametrize("kind", [0, 12, 255, *sorted(REFUSED_IN_DATA)])
def test_wrong_record_in_the_data(address, kind):
    wanted = out(FILTER, b"body", b"half", error=PROTOCOL_ERROR)
    assert exchange(address, IN_DATA + begin_or(kind) + PROBE) == wanted


def test_data_of_a_responder_are_skipped(address):
    told = begin(keep=True) + record(DATA, b"x") + HEAD[16:] + record(DATA, b"x") + \
        record(fcgi.STDIN, b"a") + record(DATA) + record(fcgi.STDIN) + record(DATA, b"x")
    assert exchange(address, told + PROBE) == out(RESPONDER, b"a") + PROBED


def test_data_before_the_end_of_the_body(address):
    told = head(role=FILTER) + record(fcgi.STDIN, b"half") + record(DATA, b"x")
    assert exchange(address, told) == out(FILTER, b"half", error=PROTOCOL_ERROR)


@pytest.mark.parametrize("version", [0, 2, 255])
def test_wrong_version(address, version):
    """Of the first record, within the head, within the body, and between two requests."""
    for kind in (fcgi.BEGIN, fcgi.PARAMS, GET_VALUES, 77):
        wrong = record(kind, b"\0\1\0\0\0\0\0\0", 0 if kind > 8 else 1, version=version)
        assert exchange(address, wrong + PROBE) == []
        assert exchange(address, IN_HEAD + wrong + PROBE) == []
        assert exchange(address, IN_BODY + wrong) == out(RESPONDER, b"half", error=PROTOCOL_ERROR)
        assert exchange(address, whole(keep=True) + wrong + PROBE) == out(RESPONDER)


@pytest.mark.parametrize("length", [0, 1, 7, 9, 65535])
def test_length_of_begin(address, length):
    """One that is too short is none; what follows the eight bytes is not looked at."""
    told = record(fcgi.BEGIN, struct.pack(">HB5x", 1, 0)[:length].ljust(length, b"\xff"))
    wanted = out(RESPONDER) if length > 8 else []
    assert exchange(address, told + HEAD[16:] + record(fcgi.STDIN)) == wanted


@pytest.mark.parametrize("flags, keeps", [(0, False), (1, True), (0xfe, False), (0xff, True)])
def test_flags_of_begin(address, flags, keeps):
    """Only the first bit has a meaning; without it nothing that follows is answered."""
    told = record(fcgi.BEGIN, struct.pack(">HB", 1, flags) + b"\xff" * 5) + HEAD[16:] + \
        record(fcgi.STDIN)
    assert exchange(address, told + PROBE) == out(RESPONDER) + (PROBED if keeps else [])


@pytest.mark.parametrize("request_id", [1, 2, 255, 256, 257, 65535])
def test_ids(address, request_id):
    told = whole(FILTER, request_id, b"body", b"data", keep=True) + whole(AUTHORIZER, request_id)
    assert exchange(address, told) == out(FILTER, b"body", b"data", request=request_id) + \
        out(AUTHORIZER, request=request_id)


@pytest.mark.parametrize("role", [0, 4, 65535])
def test_unknown_role_that_is_not_kept(address, role):
    assert exchange(address, begin(5, role) + PROBE) == [end(5, UNKNOWN_ROLE)]


# Lengths


@pytest.mark.parametrize("padding", [0, 1, 7, 255])
@pytest.mark.parametrize("size", [1, 7, 8, 65535])
def test_lengths_and_padding(address, size, padding):
    """In each stream, of each record: what comes is what was sent."""
    params = fcgi.pairs({"SMALL": "x", "EMPTY": "", "LARGE": "y" * (3000 if size < 10 else 200000)})
    content = bytes(range(256)) * 256
    told = [begin(role=FILTER)]
    for at in range(0, len(params), size):
        told.append(record(fcgi.PARAMS, params[at:at + size], padding=padding))
    told.append(record(fcgi.PARAMS, padding=padding))
    for kind in STREAMS[FILTER]:
        told += [record(kind, content[:size], padding=padding)] * 3 + [record(kind, padding=padding)]
    assert exchange(address, b"".join(told)) == out(FILTER, content[:size] * 3, content[:size] * 3)


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 1 << 20])
def test_bodies_and_data(address, size):
    body = bytes(range(251)) * (size // 251 + 1)
    told = whole(FILTER, body=body[:size], data=body[1:size + 1])
    assert exchange(address, told) == out(FILTER, body[:size], body[1:size + 1])


@pytest.mark.parametrize("params", [
    b"\1", b"\1\2ab", b"\x80\0\0\1", b"\xff" * 8, b"\0\x80\0\0\1", b"\1\1ab\2"])
def test_parameters_that_are_cut(address, params):
    """Nobody knows what was meant: the connection ends."""
    told = begin(keep=True) + record(fcgi.PARAMS, params) + record(fcgi.PARAMS) + record(fcgi.STDIN)
    assert exchange(address, told) == []


# Where the bytes are cut

SPLIT = {
    "responder": (head(padding=3, A="b") + record(fcgi.STDIN, b"body", padding=2) +
                  record(fcgi.STDIN, padding=1), out(RESPONDER, b"body")),
    "filter": (whole(FILTER, 258, b"body", b"data"), out(FILTER, b"body", b"data", request=258)),
    "authorizer": (whole(AUTHORIZER), out(AUTHORIZER)),
    "authorizer with the end of a body": (whole(AUTHORIZER) + record(fcgi.STDIN), out(AUTHORIZER)),
    "management": (record(GET_VALUES, fcgi.pairs({"FCGI_MAX_REQS": "", "x": "yz"}), 0, 3) +
                   record(70, b"1", 0) + begin(7, 9), [values(FCGI_MAX_REQS="2"), unknown(70),
                                                       end(7, UNKNOWN_ROLE)]),
    "two requests": (whole(body=b"a", keep=True) + whole(FILTER, 2, b"b", b"c"),
                     out(RESPONDER, b"a") + out(FILTER, b"b", b"c", request=2)),
    "abort": (IN_BODY + record(fcgi.ABORT, padding=4), out(RESPONDER, b"half", error=ABORTED)),
}


@pytest.mark.parametrize("row", SPLIT)
def test_split_at_every_byte(address, row):
    """Many connections at once, each cut at another byte; a worker waits within a body only."""
    told, wanted = SPLIT[row]
    clients = [fcgi.connect(address) for _ in range(1, len(told))]
    for at, s in enumerate(clients, 1):
        s.sendall(told[:at])
    for at, s in enumerate(clients, 1):
        s.sendall(told[at:])
    for at, s in enumerate(clients, 1):
        assert joined(read_records(s)) == wanted, at
        s.close()


@pytest.mark.parametrize("row", SPLIT)
def test_byte_by_byte(address, row):
    told, wanted = SPLIT[row]
    assert exchange(address, *[told[at:at + 1] for at in range(len(told))]) == wanted


# Several requests


def test_pipelined_requests(address):
    """All roles, with several ids, in one write: answered one after the other."""
    told, wanted = b"", []
    for i in range(60):
        role, body, data = i % 3 + 1, b"b" * (i * 700), b"d" * (i % 7 * 9000)
        told += whole(role, i // 2 + 1, body, data, keep=i < 59)
        wanted += out(role, *[body, data][:len(STREAMS[role])], request=i // 2 + 1)
    assert exchange(address, told) == wanted


def test_kept_and_closed(address):
    """Kept as long as the client says so; and closed with the first request that does not."""
    with fcgi.connect(address) as s:
        for role in (*ROLES, *ROLES):
            s.sendall(whole(role, keep=True))
            assert joined(read_records(s, ended)) == out(role)
        s.sendall(whole(keep=False))
        assert joined(read_records(s)) == out(RESPONDER)
    for role in ROLES:
        assert exchange(address, whole(role)) == out(role)


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("role", ROLES)
def test_second_request_while_one_runs(address, role, keep):
    """At each place in the first: it is refused and skipped, the first is served."""
    second = whole(RESPONDER, 2, b"other", keep=keep)
    pieces = [begin(1, role, True), HEAD[16:-8], record(fcgi.PARAMS)]
    for kind, content in zip(STREAMS[role], (b"body", b"data")):
        pieces += [record(kind, content), record(kind)]
    wanted = out(role, *[b"body", b"data"][:len(STREAMS[role])])
    for at in range(1, len(pieces) - 1 if STREAMS[role] else len(pieces)):
        got = exchange(address, b"".join(pieces[:at] + [second] + pieces[at:]) + PROBE)
        assert sorted(got) == sorted([end(2, CANT_MPX)] + wanted + PROBED) and got[-2:] == PROBED


@pytest.mark.parametrize("row, told, wanted", [
    ("before the head", begin(keep=True), [end()]),
    ("within the head", begin(keep=True) + record(fcgi.PARAMS, b"\1\1a"), [end()]),
    ("before the body", head(keep=True), out(RESPONDER, error=ABORTED)),
    ("within the body", head(keep=True) + record(fcgi.STDIN, b"half"),
     out(RESPONDER, b"half", error=ABORTED)),
    ("after the body", whole(body=b"all", keep=True), out(RESPONDER, b"all")),
    ("before the data", head(keep=True, role=FILTER) + ALL_BODY,
     out(FILTER, b"body", error=ABORTED)),
    ("within the data", head(keep=True, role=FILTER) + ALL_BODY + record(DATA, b"half"),
     out(FILTER, b"body", b"half", error=ABORTED)),
    ("after the data", whole(FILTER, body=b"all", data=b"all", keep=True),
     out(FILTER, b"all", b"all")),
    ("within the body of a filter", head(keep=True, role=FILTER) + record(fcgi.STDIN, b"half"),
     out(FILTER, b"half", error=ABORTED)),
    ("before the head of an authorizer", begin(role=AUTHORIZER, keep=True), [end()]),
    ("after an authorizer", whole(AUTHORIZER, keep=True), out(AUTHORIZER)),
])
@pytest.mark.parametrize("content", [b"", b"content"])
def test_abort(address, row, told, wanted, content):
    """It ends the request, and what is left of it is skipped; the connection serves on."""
    abort = record(fcgi.ABORT, content, padding=5)
    if "body" in row or "data" in row:
        abort += record(fcgi.STDIN if "body" in row and "after" not in row else DATA, b"too late")
    assert exchange(address, told + abort + PROBE) == wanted + PROBED, row


# Roles as declared


@pytest.mark.parametrize("pool, roles", [("all", (1, 2, 3)), ("authorizer", (2,)), ("echo", (1,)),
                                         ("abi1", (1,))])
def test_roles_are_those_declared(served, pool, roles):
    """Others are told so, and the connection is as good as before."""
    address = served.of(pool) if pool != "all" else served.all["unix"]
    with fcgi.connect(address) as s:
        for _ in range(2):
            for role in ROLES:
                s.sendall(whole(role, 3, keep=True))
                got = joined(read_records(s, ended))
                assert got[-1] == end(3, COMPLETE if role in roles else UNKNOWN_ROLE)
                refusal = {AUTHORIZER: b"Status: 500 Internal Server Error\r\n\r\n"}.get(role, b"")
                assert stdout(got) == refusal if role not in roles else stdout(got)
    assert pool != "abi1" or fcgi.body_of(fcgi.get(address)) == b"role 1\n"


@pytest.mark.parametrize("call, started, body, data, error", [
    ("", 0, b"body", b"data", 0), ("too-early", -1, b"", b"", CALL_SEQUENCE),
    ("close-body", 0, b"", b"data", 0), ("half", 0, b"body", b"data", 0),
    ("no-data", 0, b"body", b"", 0), ("unget-at-once", 0, b"body", b"data", 0),
    ("twice", -1, b"body", b"data", CALL_SEQUENCE)])
def test_start_filter_data(address, call, started, body, data, error):
    """As libfcgi has it, twice on a connection: what was not read is read away."""
    told = [whole(FILTER, keep=k, body=b"body", data=b"data", CALL=call) for k in (True, False)]
    assert exchange(address, told[0] + told[1]) == out(FILTER, body, data, started, error) * 2


@pytest.mark.parametrize("call", ["half", "no-data", "close-body"])
def test_data_that_are_not_read(address, call):
    """A megabyte of them, or of the body before them, and the next request."""
    large = b"x" * (1 << 20)
    body, data = {"half": (b"", large[:10]), "no-data": (b"", b""), "close-body": (b"", b"")}[call]
    told = whole(FILTER, body=large if call == "close-body" else b"",
                 data=large if call != "close-body" else b"", keep=True, CALL=call)
    assert exchange(address, told + PROBE) == out(FILTER, body, data) + PROBED


@pytest.mark.parametrize("keep", [False, True])
def test_authorizer_whose_client_sends_a_body(address, keep):
    """There is none, but the answer must arrive all the same, whenever the end of it comes."""
    rest = record(fcgi.STDIN, b"x" * 30000) * 20 + record(fcgi.STDIN)
    with fcgi.connect(address) as s:
        s.sendall(whole(AUTHORIZER, keep=keep))
        if not keep:
            wait_for(lambda: s.recv(1, socket.MSG_PEEK))  # it has been answered
        s.sendall(rest + (PROBE if keep else b""))
        assert joined(read_records(s)) == out(AUTHORIZER) + (PROBED if keep else [])


def test_end_of_stderr(served):
    """Where something was written to it, it has an end; else there is no record of it."""
    with fcgi.connect(served.of("calls")) as s:
        s.sendall(fcgi.message(b"x", True, CALL="close"))
        kinds = [(k, bool(c)) for k, _, c in read_records(s, ended)]
        assert kinds.count((fcgi.STDERR, True)) == kinds.count((fcgi.STDERR, False)) == 1
        assert kinds.index((fcgi.STDERR, True)) < kinds.index((fcgi.STDERR, False))
        s.sendall(fcgi.message(b"x"))
        assert fcgi.STDERR not in [k for k, _, _ in read_records(s)]
