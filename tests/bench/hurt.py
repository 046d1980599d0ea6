"""How the systems behave when they are hurt: silent and slow clients, a stop under load, a slow
request."""

import json
import socket
import subprocess
import threading
import time


import systems
from front import path

SILENT, TRICKLING = 4, 200
PATIENCE = 5           # seconds for the client that comes then
STOP_WORKERS, STOP_CLIENTS, STOP_ROUNDS = 16, 64, 3
NAP_SECONDS, NAP_CLIENTS = 4, 12


def connect(address):
    kind = socket.AF_UNIX if systems.is_unix(address) else socket.AF_INET
    s = socket.socket(kind, socket.SOCK_STREAM)
    host, _, port = address.rpartition(":")
    s.connect(address if systems.is_unix(address) else (host, int(port)))
    return s


class Trickle(threading.Thread):
    """Sends a request on each connection, a byte at a time."""

    def __init__(self, clients):
        super().__init__(daemon=True)
        self.clients, self.over = clients, threading.Event()

    def run(self):
        begin = b"\x01\x01\x00\x01\x00\x08\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00"
        head = b"\x01\x04\x00\x01\xff\x00\x00\x00" + b"\x0f\x00NAME_OF_A_PARAM" * 3000
        for byte in begin + head:
            for client in self.clients:
                try:
                    client.send(bytes([byte]))
                except OSError:
                    pass  # that one has been thrown out
            if self.over.wait(0.1):
                return


def silent(bench, kind):
    """Milliseconds that a client waits beside those who say nothing, or little. None: too many."""
    system = bench.make(kind)
    system.start()
    clients = [connect(system.address) for _ in range(SILENT + TRICKLING)]
    trickle = Trickle(clients[SILENT:])
    trickle.start()
    time.sleep(0.5)
    try:
        done = bench.load(system.address, "-c", "1", "-t", "200", "-l", "-s", bench.script(),
                          timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        done = None
    trickle.over.set()
    trickle.join()
    for client in clients:
        client.close()
    bench.drop(system)
    return None if done is None else done["max"] / 1000


def stop(bench, kind):
    """Answers that were lost because the server was stopped: by those who were let in before."""
    lost = []
    for _ in range(STOP_ROUNDS):
        system = bench.make(kind, workers=STOP_WORKERS)
        system.start()
        load = subprocess.Popen(
            bench.load_command(system.address, "-r", "-l", "-c", str(STOP_CLIENTS), "-t", "3000",
                               "-s", bench.script()),
            stdout=subprocess.PIPE, text=True)
        time.sleep(0.5)
        system.stop()
        text, _ = load.communicate()
        lost.append(json.loads(text)["lost"])
        bench.drop(system)
    return lost


def nap(bench, options, address, slow_options):
    """Milliseconds that the unluckiest of many clients waited while another asks for slow answers."""
    ms = str(NAP_SECONDS * 1000)
    slow = subprocess.Popen(
        bench.load_command(address, "-l", "-c", "1", "-t", ms, *slow_options),
        stdout=subprocess.DEVNULL)
    done = bench.load(address, "-l", "-c", str(NAP_CLIENTS), "-t", ms, *options)
    slow.wait()
    return {"p99": done["p99"] / 1000, "max": done["max"] / 1000}


def naps(bench):
    system = bench.make(systems.PreforkdNapper)
    system.start()
    nginx = bench.start_nginx([system])
    found = {}
    for name, keep in (("nginx, close", False), ("nginx, kept", True)):
        found[name] = nap(bench, ["-k", "-u", path(0, keep)], nginx.address,
                          ["-k", "-u", path(0, keep, slow=True)])
    bench.drop(nginx)
    bench.drop(system)
    return found


def run(bench, say):
    out = bench.results["hurt"]
    say("silent and slow clients")
    out["silent"] = {kind.name: silent(bench, kind) for kind in bench.there}
    say("stops under load")
    out["stop"] = {kind.name: stop(bench, kind) for kind in bench.there}
    say("slow requests")
    out["nap"] = naps(bench)
