"""Runs preforkctl, and a daemon with a control socket."""

import json
import os
import subprocess

from daemon import TOP

CTL = os.path.join(TOP, "build", "preforkctl")


class Ctl:
    """The client for one control socket."""

    def __init__(self, socket):
        self.socket = socket

    def run(self, *words, env=None, timeout=60, **kw):
        return subprocess.run([CTL, "-s", self.socket, *words], capture_output=True, text=True,
                              timeout=timeout, env={**os.environ, **(env or {})}, check=False, **kw)

    def do(self, *words, code=0, says="", **kw):
        """Holds it to its code, and to what it says: on stdout if 0, else on stderr."""
        done = self.run(*words, **kw)
        assert done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
        said = done.stdout if code in (0, 150) else done.stderr
        assert says in said and (code in (0, 150) or said), (words, done.stdout, done.stderr)
        return done.stdout

    def status(self, code=0):
        return json.loads(self.do("--json", "status", code=code))

    def pool(self, name="www", code=0):
        return next(p for p in self.status(code)["pools"] if p["name"] == name)
