"""Clients that compare every byte, and count what was lost."""

import http.client
import random
import threading
import time

import fcgi
from daemon import wait_for


NOISE = random.Random(0).randbytes(4 << 20)


def noise(rnd, size):
    """A random body, up to 1 MB: a piece of what was made once. To make a megabyte each time costs ten
    times what it costs to have it served, and the clients would be the load."""
    at = rnd.randrange(len(NOISE) - size)
    return NOISE[at:at + size]


class Load:
    """N threads that send requests until told to stop. Use as a context manager."""

    def __init__(self, clients, request):
        """request(random) sends one request and raises fcgi.Lost or AssertionError if it is bad."""
        self.request = request
        self.done = 0
        self.lost = []
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self._run, args=(i,)) for i in range(clients)]

    def _run(self, seed):
        rnd = random.Random(seed)
        while not self.stopping.is_set():
            try:
                self.request(rnd)
                with self.lock:
                    self.done += 1
            except (fcgi.Lost, OSError, AssertionError, http.client.HTTPException) as e:
                with self.lock:
                    self.lost.append(repr(e)[:200])

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def disturb(self, hurt, times=None, seconds=None):
        """Calls hurt() again and again, and waits each time for another answer; returns how often."""
        end = None if seconds is None else time.monotonic() + seconds
        rounds = 0
        while rounds != times and (end is None or time.monotonic() < end):
            before = self.done
            hurt()
            rounds += 1
            wait_for(lambda: self.done > before or self.lost)
        return rounds

    def stop(self):
        self.stopping.set()
        for t in self.threads:
            t.join()


def echo(address, sizes=(0, 10, 5000, 1 << 20)):
    """A request function: a random body must come back byte for byte."""
    def request(rnd):
        body = noise(rnd, rnd.choice(sizes))
        answer = fcgi.body_of(fcgi.get(address, body))
        if answer != body:
            raise fcgi.Lost("%d bytes became %d" % (len(body), len(answer)))
    return request


class Numbers:
    """A request function for the counter that remembers every number."""

    def __init__(self, address):
        self.address = address
        self.seen = []

    def __call__(self, _rnd):
        self.seen.append(fcgi.number(self.address))

    def check(self):
        """Each number from 1 to R exactly once."""
        assert sorted(self.seen) == list(range(1, len(self.seen) + 1))
