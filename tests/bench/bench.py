#!/usr/bin/env python3
"""What preforkd costs, beside other systems that answer with the same counter.

    bench.py BUILDDIR

All systems run at the same time and are measured in turns, round after round, so that what else the
machine does hits all alike; what counts is the ratio. Prints a table and writes bench.json,
report.md and plots to BUILDDIR/bench. Takes less than ten minutes and leaves nothing behind.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import gauge
import hurt
import report
import systems
from front import Nginx, path
from systems import BenchError

WORKERS = 4
MS = 350           # of one measurement
ROUNDS = 9         # at most
ROUNDS_SECONDS = 240
COUNTS = 5         # of system calls; others are counted once
REST_SECONDS = 10
MANY = (4, 64, 1000)
SCALE_ROUNDS = 3   # of thousands of workers others have one
BEGIN = time.monotonic()
OWN = (systems.Limit, systems.Preforkd)
HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAMS = {  # sources, and how they are linked
    "counter": (["counter.c"], ["-lfcgi"]),
    "limit": (["limit.c"], []),
    "forks": (["forks.c"], []),
    "fcgiload": (["fcgiload.c", "answer.c"], ["-pthread"]),
    "napper.so": (["napper.c"], ["-shared", "-fPIC", "-lfcgi"]),
}
SCRIPTS = ("counter.pl", "counter.php", "counter_wsgi.py")

# name: (unix or tcp, through nginx, kept, clients)
MODES = {
    "unix, close, 1 client": ("unix", False, False, 1),
    "unix, close, 16 clients": ("unix", False, False, 16),
    "unix, kept, 1 client": ("unix", False, True, 1),
    "unix, kept, 16 clients": ("unix", False, True, 16),
    "TCP, close, 1 client": ("tcp", False, False, 1),
    "TCP, close, 16 clients": ("tcp", False, False, 16),
    "TCP, kept, 1 client": ("tcp", False, True, 1),
    "TCP, kept, 16 clients": ("tcp", False, True, 16),
    "nginx, close, 16 clients": ("unix", True, False, 16),
    "nginx, kept, 4 clients": ("unix", True, True, 4),
    "nginx, kept, 16 clients": ("unix", True, True, 16),
}
COUNTED = ("unix, close, 16 clients", "TCP, close, 16 clients", "unix, kept, 1 client",
           "nginx, kept, 16 clients")


def say(text):
    print("%4d s  %s" % (time.monotonic() - BEGIN, text), file=sys.stderr, flush=True)


class Bench:
    def __init__(self, build):
        self.build = build
        self.directory = tempfile.mkdtemp(prefix="preforkd-bench.", dir="/tmp")
        os.chmod(self.directory, 0o755)  # the workers' user reads programs there
        self.running = []
        self.addresses = 0
        self.nginx = None
        self.results = {"workers": WORKERS, "modes": {}, "syscalls": {}, "scale": {},
                        "rest": {}, "hurt": {}, "missing": []}
        self.there = []
        for kind in systems.ALL:
            if kind.is_there():
                self.there.append(kind)
            else:
                self.results["missing"].append(kind.name)

    def prepare(self):
        for name, (sources, flags) in PROGRAMS.items():
            subprocess.run(
                [os.environ.get("CC", "cc"), "-std=c11", "-D_GNU_SOURCE", "-O2",
                 "-I" + os.path.join(HERE, "../../src"), "-o", os.path.join(self.directory, name),
                 *(os.path.join(HERE, s) for s in sources), *flags], check=True)
        for script in SCRIPTS:
            shutil.copy(os.path.join(HERE, script), self.directory)
        shutil.copy(os.path.join(self.build, "preforkd"), self.directory)

    def make(self, kind, network="unix", workers=WORKERS):
        """A system that is not started yet."""
        self.addresses += 1
        system = kind(self.directory,
                      systems.free_address(self.directory, network, self.addresses), workers)
        self.running.append(system)
        return system

    def drop(self, system):
        system.kill()
        self.running.remove(system)

    def load_command(self, address, *options):
        return [os.path.join(self.directory, "fcgiload"), *options, address]

    def load(self, address, *options, timeout=60):
        done = subprocess.run(self.load_command(address, *options), capture_output=True, text=True,
                              check=False, timeout=timeout)
        if done.returncode != 0:
            raise BenchError(done.stderr.strip())
        return json.loads(done.stdout)

    def close(self):
        for system in self.running:
            system.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    # Requests

    def start_all(self):
        """{unix or tcp: [one of each system]}, and nginx before the first ones."""
        fleet = {network: [self.make(kind, network) for kind in self.there]
                 for network in ("unix", "tcp")}
        for system in fleet["unix"] + fleet["tcp"]:
            system.start()
        self.nginx = self.start_nginx(fleet["unix"])
        fleet["unix"][0].last = None  # somebody has asked it
        return fleet

    def start_nginx(self, upstreams):
        nginx = Nginx(self.directory, systems.free_address(self.directory, "tcp", 0), upstreams)
        self.running.append(nginx)
        nginx.start()
        command = self.load_command(nginx.address, "-u", path(0, False), "-c", "1", "-t", "1", "-l")
        systems.wait_until(
            lambda: subprocess.run(command, capture_output=True, check=False).returncode == 0,
            "nginx", 0.05)
        return nginx

    def options(self, mode, number):
        """Of fcgiload, but for the time, and the address; number: of the system."""
        network, through_nginx, keep, clients = MODES[mode]
        options = ["-c", str(clients)] + (["-k"] if keep or through_nginx else [])
        if through_nginx:
            return options + ["-u", path(number, keep)]
        return options + ["-s", os.path.join(self.directory, "counter.php")]

    def ask(self, system, mode, number, ms=MS):
        """Asks one system, and sees that no answer was lost between two measurements."""
        address = self.nginx.address if MODES[mode][1] else system.address
        done = self.load(address, "-t", str(ms), *self.options(mode, number))
        if system.shares:
            if system.last is not None and done["first"] != system.last + 1:
                raise BenchError("%s: %d came after %d" % (system.name, done["first"], system.last))
            system.last = done["last"]
        return done

    def measure(self, system, mode, number):
        pids = system.pids()
        before = gauge.cpu_ns(pids)
        done = self.ask(system, mode, number)
        after = gauge.cpu_ns(pids)
        if system.pids() != pids:
            raise BenchError(system.name + ": a worker has died")
        return {"rate": done["requests"] / done["seconds"],
                "cpu": (after - before) / 1000 / done["requests"],
                "p50": done["p50"], "p99": done["p99"], "max": done["max"],
                "served": done["served"]}

    def measured(self, fleet):
        """(mode, number, system) in the order of a round."""
        for mode, (network, _, keep, _) in MODES.items():
            for number, system in enumerate(fleet[network]):
                if system.keeps or not keep:
                    yield mode, number, system

    def run_modes(self, fleet):
        found = {mode: {} for mode in MODES}
        for mode, number, system in self.measured(fleet):  # warm up
            self.ask(system, mode, number, 50)
        begin = time.monotonic()
        done = 0
        while done < ROUNDS and time.monotonic() - begin < ROUNDS_SECONDS * (1 - 0.5 / ROUNDS):
            for mode, number, system in self.measured(fleet):
                of_system = found[mode].setdefault(system.name, {})
                for key, value in self.measure(system, mode, number).items():
                    of_system.setdefault(key, []).append(value)
            done += 1
            say("round %d of %d" % (done, ROUNDS))
        self.results["rounds"] = done
        self.results["ms"] = MS
        for mode, by_system in found.items():
            limit = by_system.get(systems.Limit.name)
            self.results["modes"][mode] = {
                name: self.summarize(values, limit) for name, values in by_system.items()}

    @staticmethod
    def summarize(values, limit):
        """Ratios are of each round, to the limit in the same one."""
        out = {key: gauge.summary(found) for key, found in values.items()}
        for key in ("rate", "cpu"):
            if limit is not None:
                out[key + "_ratio"] = gauge.summary(
                    [a / b for a, b in zip(values[key], limit[key])])
        return out

    def run_syscalls(self, fleet):
        if not gauge.Syscalls.is_there():
            self.results["missing"].append("perf, or the kernel's events of system calls")
            return
        for mode in COUNTED:
            network, _, keep, _ = MODES[mode]
            for number, system in enumerate(fleet[network]):
                if keep and not system.keeps:
                    continue
                times = COUNTS if type(system) in OWN else 1
                found = [self.count_syscalls(system, mode, number) for _ in range(times)]
                self.results["syscalls"].setdefault(mode, {})[system.name] = {
                    name: gauge.summary([f.get(name, 0) for f in found])
                    for name in sorted(set().union(*found))}

    def count_syscalls(self, system, mode, number):
        counter = gauge.Syscalls(system.pids())
        done = self.ask(system, mode, number)
        return {name: n / done["requests"] for name, n in counter.end().items()}

    def run_rest(self, fleet):
        """Wake-ups and memory while nobody asks."""
        before = {s.name: gauge.wakeups(s.pids()) for s in fleet["unix"]}
        time.sleep(REST_SECONDS)
        for system in fleet["unix"]:
            pids = system.pids()
            self.results["rest"][system.name] = {
                "wakeups": gauge.wakeups(pids) - before[system.name],
                "pss_kib": gauge.pss_kib(pids)}

    # Many workers

    def run_scale(self):
        for workers in MANY:
            say("%d workers" % workers)
            for kind in self.there:
                if workers <= kind.most_workers:
                    self.scale(kind, workers)
        self.results["forks"] = self.run_forks(MANY[-1]) if systems.AS_ROOT else None

    def run_forks(self, workers):
        """Milliseconds until so many were forked that need nothing, and that are and do what those
        of preforkd are given and have to do."""
        found = {"bare": [], "given": []}
        for _ in range(SCALE_ROUNDS):
            for kind, options in (("bare", []), ("given", ["-g"])):
                done = subprocess.run(
                    [os.path.join(self.directory, "forks"), *options, str(workers)], check=True,
                    capture_output=True, text=True, timeout=systems.PATIENCE)
                found[kind].append(json.loads(done.stdout)["forked"])
        return {kind: gauge.summary(values) for kind, values in found.items()}

    def scale(self, kind, workers):
        starts, readies, stops, backs, pss = [], [], [], [], None
        rounds = SCALE_ROUNDS if workers < 1000 or kind in OWN else 1
        for number in range(rounds):
            system = self.make(kind, workers=workers)
            starts.append(system.start() * 1000)
            readies.append(system.ready)
            self.ask_one(system)
            if workers == 64:
                backs.append(self.recover(system))
            if number == rounds - 1:
                pss = gauge.pss_kib(system.pids())
            stops.append(system.stop())
            self.drop(system)
        found = {"start": gauge.summary(starts), "pss_kib": pss,
                 "stop": gauge.summary_if_all(stops, 1000),
                 "ready": gauge.summary_if_all(readies, 1000)}
        if backs:
            found["back"] = gauge.summary_if_all(backs, 1000)
        self.results["scale"].setdefault(str(workers), {})[kind.name] = found

    def recover(self, system):
        """Seconds from the death of all workers until as many are there, and one answers."""
        old = set(systems.children(system.process.pid))
        begin = time.monotonic()
        for pid in old:
            os.kill(pid, signal.SIGKILL)
        try:
            systems.wait_until(
                lambda: len(set(systems.children(system.process.pid)) - old) >= system.workers,
                system.name, patience=5)
            self.ask_one(system)
        except (BenchError, subprocess.TimeoutExpired):
            return None
        return time.monotonic() - begin

    def ask_one(self, system):
        self.load(system.address, "-c", "1", "-t", "1", "-l", "-s", self.script(), timeout=5)

    def script(self):
        return os.path.join(self.directory, "counter.php")

    def run(self):
        self.prepare()
        fleet = self.start_all()
        self.run_modes(fleet)
        say("system calls, rest")
        self.run_syscalls(fleet)
        self.run_rest(fleet)
        for system in [self.nginx] + fleet["unix"] + fleet["tcp"]:
            system.stop()
            self.drop(system)
        self.run_scale()
        hurt.run(self, say)
        self.results["seconds"] = time.monotonic() - BEGIN
        return self.results


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    bench = Bench(sys.argv[1])
    for signo in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signo, lambda *_: sys.exit(1))
    try:
        results = bench.run()
    except BenchError as e:
        sys.exit("bench: %s" % e)
    finally:
        bench.close()
    report.write(results, os.path.join(sys.argv[1], "bench"))


if __name__ == "__main__":
    main()
