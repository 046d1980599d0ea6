"""A client of the gate: HTTP over the control socket or TCP, and what a test asks it for."""

import http.client
import json
import socket

from daemon import wait_for


class Unix(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path, timeout=30.0):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Answer:
    def __init__(self, response):
        self.code = response.status
        self.headers = response.headers
        self.body = response.read()

    def json(self):
        return json.loads(self.body)

    def text(self):
        return self.body.decode()


class Gate:
    """Of a daemon that has control =, or http = with this port."""

    def __init__(self, daemon, port=None):
        self.path = daemon.dir + "/control.sock"
        self.port = port

    def connection(self):
        if self.port is None:
            return Unix(self.path)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def ask(self, method, path, body=None, headers=None):
        c = self.connection()
        try:
            c.request(method, path, body, headers or {})
            return Answer(c.getresponse())
        finally:
            c.close()

    def get(self, path, **headers):
        return self.ask("GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()})

    def status(self):
        answer = self.get("/status")
        assert answer.code == 200, answer.body
        return answer.json()

    def pool(self, name="www"):
        return next(p for p in self.status()["pools"] if p["name"] == name)

    def wait_pool(self, what, name="www", why=""):
        """Waits until what(pool) is true, and returns the pool."""
        seen = []

        def look():
            seen[:] = [self.pool(name)]
            return what(seen[0])
        wait_for(look, why=why or "the status of pool " + name)
        return seen[0]

    def post(self, path):
        """A command: (code, ok, message)."""
        answer = self.ask("POST", path)
        said = answer.json()
        assert set(said) == {"ok", "message"} and said["ok"] == (answer.code == 200), said
        return answer.code, said["ok"], said["message"]

    def done(self, path):
        code, ok, message = self.post(path)
        assert ok, (code, message)
        return message

    def metrics(self):
        """{name{labels}: value} of the plain format."""
        out = {}
        for line in self.get("/metrics").text().splitlines():
            if not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                out[name] = float(value)
        return out
