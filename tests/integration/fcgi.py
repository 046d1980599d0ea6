"""A FastCGI client for tests: strict about every byte, and never deadlocked by a large body."""

import select
import socket
import struct

BEGIN, ABORT, END, PARAMS, STDIN, STDOUT, STDERR = range(1, 8)


class Lost(Exception):
    """The answer was cut, garbled or never came."""


def record(kind, content=b"", request=1):
    return struct.pack(">BBHHBB", 1, kind, request, len(content), 0, 0) + content


def _length(n):
    return bytes([n]) if n < 128 else struct.pack(">I", n | 0x80000000)


def pairs(params):
    """Values are text or bytes."""
    out = b""
    for name, value in params.items():
        n, v = name.encode(), value if isinstance(value, bytes) else value.encode()
        out += _length(len(n)) + _length(len(v)) + n + v
    return out


def message(body=b"", keep=False, **params):
    """The bytes of one request."""
    params = {"REQUEST_METHOD": "POST" if body else "GET", "SCRIPT_NAME": "/", **params,
              "CONTENT_LENGTH": str(len(body)) if body else ""}
    content = pairs(params)
    return b"".join([record(BEGIN, struct.pack(">HB5x", 1, 1 if keep else 0)),
                     *(record(PARAMS, content[at:at + 32768]) for at in range(0, len(content), 32768)),
                     record(PARAMS),
                     *(record(STDIN, body[at:at + 32768]) for at in range(0, len(body), 32768)),
                     record(STDIN)])


def connect(address, timeout=20.0, source=None):
    """address: "HOST:PORT", "[V6]:PORT", "/PATH" or "@ABSTRACT"."""
    if address[0] in "/@":
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(timeout)
        s.connect("\0" + address[1:] if address[0] == "@" else address)
        return s
    host, port = address.rsplit(":", 1)
    return socket.create_connection((host.strip("[]"), int(port)), timeout=timeout,
                                    source_address=(source, 0) if source else None)


def is_closed(sock):
    """The other end has closed it."""
    readable, _, _ = select.select([sock], [], [], 0)
    try:
        return bool(readable) and sock.recv(65536) == b""
    except ConnectionError:
        return True


class Connection:
    """One connection; request() may be called again if the last one asked to keep it."""

    def __init__(self, address, timeout=20.0, source=None):
        self.timeout = timeout
        self.sock = connect(address, timeout, source)
        self.data = b""
        self.stderr = b""

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _records(self):
        while len(self.data) >= 8:
            _, kind, _, length, padding, _ = struct.unpack(">BBHHBB", self.data[:8])
            if len(self.data) < 8 + length + padding:
                return
            content = self.data[8:8 + length]
            self.data = self.data[8 + length + padding:]
            yield kind, content

    def _take(self, out):
        """What has come: the appStatus, if that is the end of an answer."""
        for kind, content in self._records():
            if kind == STDOUT:
                out.append(content)
            elif kind == STDERR:
                self.stderr += content
            elif kind == END:
                app, protocol = struct.unpack(">IB3x", content)
                if protocol != 0:
                    raise Lost("protocol status %d" % protocol)
                return app
        return None

    def request(self, body=b"", keep=False, **params):
        """Sends one request, returns (stdout, appStatus). Raises Lost."""
        return self.answer(message(body, keep, **params))

    def answer(self, to_send=b""):
        """Sends the bytes, and returns the answer to what has been sent."""
        to_send = memoryview(to_send)
        out = []
        self.sock.setblocking(False)
        app = None if to_send else self._take(out)  # of the answers that came together
        if app is not None:
            return b"".join(out), app
        while True:
            r, w, _ = select.select([self.sock], [self.sock] if to_send else [], [], self.timeout)
            if not r and not w:
                raise Lost("no answer within %g s" % self.timeout)
            try:
                if w:
                    to_send = to_send[self.sock.send(to_send):]
                if not r:
                    continue
                got = self.sock.recv(262144)
            except BlockingIOError:
                continue
            except OSError as e:
                raise Lost("%s after %d bytes" % (e, sum(map(len, out)))) from e
            self.data += got
            app = self._take(out)
            if app is not None:
                return b"".join(out), app
            if not got:
                raise Lost("closed after %d bytes" % sum(map(len, out)))


def get(address, body=b"", timeout=20.0, source=None, **params):
    """One request on a connection of its own: the answer's stdout."""
    with Connection(address, timeout, source) as c:
        return c.request(body, **params)[0]


def body_of(answer):
    head, separator, body = answer.partition(b"\r\n\r\n")
    if not separator:
        raise Lost("no header in %r" % answer[:200])
    return body


def number(address, **kw):
    """What the counter answers."""
    return int(body_of(get(address, **kw)))
