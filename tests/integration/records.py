"""FastCGI records one by one: to say what no client says, and to see each record of an answer."""

import struct

import fcgi

DATA, GET_VALUES, GET_VALUES_RESULT, UNKNOWN_TYPE = 8, 9, 10, 11
RESPONDER, AUTHORIZER, FILTER = 1, 2, 3
COMPLETE, CANT_MPX, OVERLOADED, UNKNOWN_ROLE = range(4)


def record(kind, content=b"", request=1, padding=0, version=1):
    return struct.pack(">BBHHBx", version, kind, request, len(content), padding) + content + \
        b"\xee" * padding


def begin(request=1, role=1, keep=False):
    return record(fcgi.BEGIN, struct.pack(">HB5x", role, int(keep)), request)


def head(request=1, keep=False, padding=0, role=1, **params):
    params = {"REQUEST_METHOD": "GET", "SCRIPT_NAME": "/", **params}
    return begin(request, role, keep) + record(fcgi.PARAMS, fcgi.pairs(params), request, padding) + \
        record(fcgi.PARAMS, b"", request)


def read_records(sock, until=None, timeout=20.0):
    """The records until the connection ends, or until one that until(kind, id, content) likes."""
    sock.settimeout(timeout)
    data, found = b"", []
    while True:
        while len(data) >= 8:
            _, kind, request, length, padding, _ = struct.unpack(">BBHHBB", data[:8])
            if len(data) < 8 + length + padding:
                break
            found.append((kind, request, data[8:8 + length]))
            data = data[8 + length + padding:]
            if until is not None and until(*found[-1]):
                return found
        got = sock.recv(65536)
        if not got:
            assert not data, "a record was cut"
            return found
        data += got


def ended(kind, _request, _content):
    return kind == fcgi.END


def stdout(records):
    return b"".join(content for kind, _, content in records if kind == fcgi.STDOUT)


def is_whole_answer(records):
    """Nothing but stdout, which ends with an empty record, and then the request."""
    kinds = [(kind, bool(content)) for kind, _, content in records]
    return kinds[-2:] == [(fcgi.STDOUT, False), (fcgi.END, True)] and \
        set(kinds[:-2]) == {(fcgi.STDOUT, True)}


def protocol_status(records):
    return [(request, content[4]) for kind, request, content in records if kind == fcgi.END]


def ask(address, data, until=None):
    with fcgi.connect(address) as s:
        s.sendall(data)
        return read_records(s, until)
