#!/usr/bin/env python3
"""What it costs to be seen: the same counter with everything on, and with all of it off.

    overhead.py BUILDDIR

Four daemons run side by side and are measured in turns, so that what else the machine does hits all
alike. "off" has no control socket, no access log, and no scoreboard either (BUILDDIR/bench/unboarded);
"scoreboard" has that alone; "seen" also a gate, and somebody who asks for /status and /metrics each
second; "on" also an access log. What counts is the median of the ratios of the rounds. The counter is
the shortest request that there is: of every other one it is a smaller share. CPU is that of master,
workers and gate, and of nginx where it stands in front.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import gauge

ROUNDS = 50
MS = 200
SCRAPE_EACH = 1000 // MS  # of its turns
WORKERS = 4
MODES = {"a connection for each request, 16 clients": ("fcgiload", "-c", "16"),
         "kept connections, 4 clients": ("fcgiload", "-k", "-c", "4"),
         "through nginx, 16 clients": ("ab", "-q", "-l", "-k", "-c", "16", "-n", "1500")}
HERE = os.path.dirname(os.path.abspath(__file__))
GOAL = 0.03


def compile_load(build):
    sources = [s for s in ("fcgiload.c", "answer.c") if os.path.exists(os.path.join(HERE, s))]
    subprocess.run([os.environ.get("CC", "cc"), "-std=c11", "-D_GNU_SOURCE", "-O2", "-o",
                    build + "/bench/fcgiload", *[os.path.join(HERE, s) for s in sources], "-pthread"],
                   check=True)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def children(pid):
    with open("/proc/%d/task/%d/children" % (pid, pid), encoding="ascii") as f:
        return [int(word) for word in f.read().split()]


class System:
    """A daemon of its own with one pool."""

    def __init__(self, directory, name, binary, keys="", pool_keys=""):
        self.name, self.url = name, None
        self.sock = os.path.join(directory, name + ".sock")
        self.log = os.path.join(directory, name + ".log")
        conf = os.path.join(directory, name + ".conf")
        if keys:
            port = free_port()
            self.url = "http://127.0.0.1:%d" % port
            keys = keys % port
        with open(conf, "w", encoding="utf-8") as f:
            f.write("[preforkd]\npid-file =\n%s\n[pool www]\nlisten = %s\nlisten-mode = 0666\n"
                    "app = counter\nworkers = %d\n%s\n" % (keys, self.sock, WORKERS, pool_keys))
        with open(self.log, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen([binary, "-F", "-c", conf], stderr=log,
                                            start_new_session=True)
        self.wait()
        self.rates, self.costs = [], []

    def wait(self):
        end = time.monotonic() + 30
        while True:
            with open(self.log, encoding="utf-8") as f:
                text = f.read()
            if "serving with" in text:
                return
            if self.process.poll() is not None or time.monotonic() > end:
                sys.exit("overhead: %s does not start: %s" % (self.name, text))
            time.sleep(0.02)

    def pids(self):
        return [self.process.pid, *children(self.process.pid)]

    def measure(self, load, options, front, milliseconds):
        """Requests a second, and microseconds of processor time for one."""
        words = [load, "-t", str(milliseconds), *options[1:], self.sock]
        pids = self.pids()
        if options[0] == "ab":
            words = [*options, front.url + self.name]
            pids += front.pids()
        before = gauge.cpu_ns(pids)
        done = subprocess.run(words, check=True, capture_output=True, text=True)
        spent = gauge.cpu_ns(pids) - before
        if options[0] == "ab":
            assert re.search(r"Failed requests: +0$", done.stdout, re.M), done.stdout
            rate, count = (re.search(word + r": +([\d.]+)", done.stdout).group(1)
                           for word in ("Requests per second", "Complete requests"))
        else:
            found = json.loads(done.stdout)
            rate, count = found["requests"] / found["seconds"], found["requests"]
        return float(rate), spent / int(count) / 1000

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


class Front:
    """nginx before all of them: /NAME is the daemon of that name."""

    def __init__(self, directory, systems):
        port = free_port()
        self.url = "http://127.0.0.1:%d/" % port
        places = "".join("location = /%s { fastcgi_pass unix:%s; include /etc/nginx/fastcgi_params; }\n"
                         % (s.name, s.sock) for s in systems)
        with open(directory + "/nginx.conf", "w", encoding="utf-8") as f:
            f.write("daemon off; worker_processes 2; pid %s/nginx.pid; error_log %s/nginx.log crit;\n"
                    "events { worker_connections 1024; }\n"
                    "http { access_log off; keepalive_requests 100000000;\n"
                    "server { listen 127.0.0.1:%d;\n%s} }\n" % (directory, directory, port, places))
        self.process = subprocess.Popen(["nginx", "-p", directory, "-e", directory + "/nginx.log", "-c",
                                         directory + "/nginx.conf"])
        end = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(self.url + "off", timeout=10):
                return
            if time.monotonic() > end:
                sys.exit("overhead: nginx does not start")
            time.sleep(0.02)

    pids = System.pids
    stop = System.stop


class Scraper:
    """Asks for both, in so many of its daemon's turns that it is once in a second of them."""

    def __init__(self, url):
        self.url, self.turns, self.scrapes = url, 0, 0

    def scrape(self):
        for path in "/status", "/metrics":
            with urllib.request.urlopen(self.url + path, timeout=10) as answer:
                assert answer.status == 200 and answer.read()
        self.scrapes += 1

    @contextlib.contextmanager
    def scraping(self):
        thread = threading.Thread(target=self.scrape)
        self.turns += 1
        if self.turns % SCRAPE_EACH == 0:
            thread.start()
        yield
        if thread.ident is not None:
            thread.join()


def compare(systems, scrapers, load, front, title, options):
    for s in systems:
        s.rates, s.costs = [], []
        s.measure(load, options, front, 200)
    for n in range(ROUNDS):
        for s in systems[n % len(systems):] + systems[:n % len(systems)]:
            with scrapers[s.url].scraping() if s.url else contextlib.nullcontext():
                rate, cost = s.measure(load, options, front, MS)
            s.rates.append(rate)
            s.costs.append(cost)
    print("\n%s\n%-12s %11s %15s %17s %17s" % (title, "", "requests/s", "CPU us/request",
                                              "requests to off", "CPU to off"))
    off, worst = systems[0], 0.0
    for s in systems:
        share = statistics.median(a / b for a, b in zip(s.rates, off.rates))
        cost = statistics.median(a / b for a, b in zip(s.costs, off.costs))
        print("%-12s %11.0f %15.2f %16.1f%% %16.1f%%" % (
            s.name, statistics.median(s.rates), statistics.median(s.costs), 100 * share - 100,
            100 * cost - 100), flush=True)
        worst = 1 - share
    return worst


def main(build):
    os.makedirs(build + "/bench", exist_ok=True)
    compile_load(build)
    directory = tempfile.mkdtemp(prefix="preforkd-overhead-", dir="/tmp")
    os.chmod(directory, 0o755)
    systems, running = [], []
    try:
        for name in "preforkd", "bench/unboarded":  # where the workers' user can read them
            shutil.copy(os.path.join(build, name), directory)
        access = os.path.join(directory, "access.log")
        gate = "control = %s/%%s.sock.ctl\nhttp = 127.0.0.1:%%%%d" % directory
        systems.append(System(directory, "off", directory + "/unboarded"))
        systems.append(System(directory, "scoreboard", directory + "/preforkd"))
        systems.append(System(directory, "seen", directory + "/preforkd", gate % "seen"))
        systems.append(System(directory, "on", directory + "/preforkd", gate % "on",
                              "access-log = %s" % access))
        running += systems
        front = Front(directory, systems)
        running.append(front)
        scrapers = {s.url: Scraper(s.url) for s in systems if s.url}
        print("%d workers; medians of %d rounds of %d ms in turns" % (WORKERS, ROUNDS, MS))
        worst = max(compare(systems, scrapers, build + "/bench/fcgiload", front, title, options)
                    for title, options in MODES.items())
        with open(access, encoding="ascii") as f:
            lines = sum(1 for line in f if re.search('"GET /', line))
        print("\n%d scrapes, %d lines in the access log; with everything on at most %.1f %% fewer "
              "requests: %s" % (sum(s.scrapes for s in scrapers.values()), lines, 100 * worst,
                                "within 3 %" if worst <= GOAL else "more than 3 %"))
    finally:
        for s in running or systems:
            s.stop()
        shutil.rmtree(directory)


if __name__ == "__main__":
    main(os.path.abspath(sys.argv[1]))
