"""An HTTP server on a unix socket that answers what a test wants: a gate that is mad, slow or far
larger than the machine."""

import json
import os
import socket
import socketserver
import threading
import time
from http.server import BaseHTTPRequestHandler


def worker(slot, **more):
    return {"slot": slot, "pid": 4000 + slot, "generation": 1, "state": "idle",
            "started": time.time() - 100, "requests": 10 * slot, "request": None,
            "last_seconds": 0.01, "total_seconds": 1.5, "bytes_in": 100, "bytes_out": 2000,
            "connections": 0, "cpu_seconds": 0.5, "resident_bytes": 3 << 20, **more}


def latency(*counts):
    """Of requests that took up to 1 ms, up to 10 ms, and longer."""
    below = [sum(counts[:i + 1]) for i in range(3)] if counts else [0, 0, 0]
    return {"buckets": [{"le": le, "count": n} for le, n in zip((0.001, 0.01, None), below)],
            "sum": 0.004 * below[-1], "count": below[-1]}


def pool(name="www", workers=4, **more):
    """One pool; workers: how many, or their list."""
    listed = [worker(i + 1) for i in range(workers)] if isinstance(workers, int) else workers
    count = {s: sum(w["state"] == s for w in listed)
             for s in ("starting", "idle", "busy", "retiring")}
    return {"name": name, "kind": "app", "program": "counter", "state": "serving", "healthy": True,
            "reason": "", "generation": 1, "draining": False,
            "listeners": [{"address": "127.0.0.1:9000", "queue": 0, "queue_limit": 4096,
                           "queue_high": 3}],
            "workers": {"min": len(listed), "max": len(listed), "wanted": len(listed),
                        "live": len(listed), **count},
            "requests": 1234, "bytes_in": 1, "bytes_out": 2, "spawned": len(listed),
            "died": {"exited": 0, "signal": 0, "timeout": 0, "failed_start": 0, "retired": 0},
            "backoff": {"active": False, "delay": 0.0, "ends_in": 0.0}, "latency": latency(),
            "list": listed, **more}


def status(*pools, **more):
    last = {"result": "none", "at": None, "reason": ""}
    return {"version": "0.1.0", "pid": os.getpid(), "now": time.time(),
            "started": time.time() - 1000, "state": "serving",
            "reloads": {"done": 0, "failed": 0, "last": last},
            "upgrades": {"done": 0, "failed": 0, "last": last},
            "retirement": "trace", "gate": {"pid": os.getpid(), "restarts": 0},
            "pools": list(pools) or [pool()], "events": [], **more}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        gate = self.server.gate
        gate.asked.append("%s %s" % (self.command, self.path))
        reply = gate.answers.get(self.command + " " + self.path.partition("?")[0], gate.otherwise)
        code, body = reply() if callable(reply) else reply
        if code is None:  # no answer: the connection is closed
            self.close_connection = True
            return
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer

    def address_string(self):
        return "unix"

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 128

    def get_request(self):
        connection, address = super().get_request()
        self.connections.append(connection)
        return connection, address

    def handle_error(self, *_):
        pass  # a client that left


class FakeGate:
    """answers: "METHOD /PATH" to (status, body), or to a function that returns these."""

    def __init__(self, path, **answers):
        self.path = path
        self.asked = []
        self.answers = {"GET /status": lambda: (200, status()), **answers}
        self.otherwise = (200, {"ok": True, "message": "done"})
        self.server = Server(path, Handler)
        self.server.gate = self
        self.server.connections = []
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.socket.close()
        for connection in self.server.connections:  # as the end of a process does
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.server.server_close()
        os.unlink(self.path)


def says_status(gate, *pools, **more):
    gate.answers["GET /status"] = (200, status(*pools, **more))
