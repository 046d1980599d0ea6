"""A program on a terminal of its own, whose screen a test can read."""

import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
import threading

import pyte

from daemon import wait_for


class Terminal:
    """Runs the words; text() is what a user would see."""

    def __init__(self, words, lines=24, columns=100, env=None):
        self.screen = pyte.Screen(columns, lines)
        self.stream = pyte.ByteStream(self.screen)
        self.master, slave = pty.openpty()
        self.size(lines, columns)
        self.process = subprocess.Popen(
            words, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            env={**os.environ, "TERM": "linux", **(env or {})})
        os.close(slave)
        self.raw = b""
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self):
        while True:
            try:
                data = os.read(self.master, 65536)
            except OSError:  # nobody has the other side any more
                return
            if not data:
                return
            self.raw += data
            self.stream.feed(data)

    def size(self, lines, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def resize(self, lines, columns):
        self.screen.resize(lines, columns)
        self.size(lines, columns)
        self.process.send_signal(signal.SIGWINCH)

    def lines(self):
        return [line.rstrip() for line in self.screen.display]

    def text(self):
        return "\n".join(self.lines())

    def press(self, keys):
        os.write(self.master, keys)

    def wait(self, words, limit=15):
        try:
            wait_for(lambda: words in self.text(), limit)
        except AssertionError as e:
            raise AssertionError("no %r in:\n%s" % (words, self.text())) from e

    def end(self, limit=10):
        """Its exit code."""
        code = self.process.wait(limit)
        self.reader.join(limit)
        return code

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.reader.join(10)
        os.close(self.master)
