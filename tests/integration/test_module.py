"""Modules: an application behind preforkd_app.h, in workers that lose no request when they go."""

import os
import signal
import threading

import pytest

import fcgi
from daemon import IS_ROOT, children, free_port, make, often, status, title, wait_for
from load import Load, echo
from test_handover import shared_in


def module(daemon, apps, args="", **keys):
    daemon.write(daemon.pool(module=(apps + "/module_echo " + args).strip(), **keys))
    return daemon.start()


@pytest.mark.quick
def test_bodies_come_back_byte_for_byte(daemon, apps):
    module(daemon, apps)
    for size in (0, 1, 7, 8, 4096, 65535, 65536, 1 << 20, 5 << 20):
        body = os.urandom(size)
        assert fcgi.body_of(fcgi.get(daemon.sock, body)) == body


@pytest.mark.quick
def test_app_status_shared_cells_and_stop(daemon, apps):
    module(daemon, apps, workers=3)
    with fcgi.Connection(daemon.sock) as c:
        assert c.request(APP_STATUS="1")[1] == 7
    shared = [shared_in(fcgi.get(daemon.sock, SHARED="1")) for _ in range(20)]
    assert shared == list(range(1, 21))
    assert daemon.reload() == "ok"
    assert b"X-Shared: 21" in fcgi.get(daemon.sock, SHARED="1")
    daemon.end()
    assert daemon.read_log().count("module stopped") == 6  # three workers, two generations


@pytest.mark.root
def test_module_is_loaded_without_privileges(daemon, apps):
    """A module that only root can read cannot be loaded: its code never runs as root."""
    path = os.path.join(daemon.dir, "echo.so")
    with open(apps + "/module_echo", "rb") as source, open(path, "wb") as copy:
        copy.write(source.read())
    os.chmod(path, 0o700)
    daemon.write(daemon.pool(module=path))
    done = daemon.run("-c", daemon.conf)
    assert done.returncode in (69, 77) and path in done.stderr, done
    assert IS_ROOT


@pytest.mark.quick
def test_crash_costs_one_request(daemon, apps):
    """A request that kills its worker is lost; all others are served, at once."""
    module(daemon, apps, workers=2)
    for _ in range(10):
        with pytest.raises((fcgi.Lost, OSError)):
            fcgi.get(daemon.sock, CRASH="1")
        assert fcgi.body_of(fcgi.get(daemon.sock, b"x")) == b"x"
    daemon.wait_workers(2)
    daemon.wait_log(r"worker \d+ killed by SIGABRT after \d+ requests?, replaced by \d+")
    assert "next try in" not in daemon.read_log()


@pytest.mark.quick
def test_unread_body_is_no_trouble(daemon, apps):
    """An application that does not read its body: the answer arrives, kept connections go on."""
    port = free_port()
    module(daemon, apps, workers=1, listen="%s 127.0.0.1:%d" % (daemon.sock, port))
    body = os.urandom(3 << 20)
    for address in (daemon.sock, "127.0.0.1:%d" % port):
        for _ in range(5):
            assert fcgi.get(address, body, NOREAD="1").endswith(b"\r\n\r\n")
        with fcgi.Connection(address) as c:
            for _ in range(5):
                assert c.request(body, keep=True, NOREAD="1")[0].endswith(b"\r\n\r\n")
                assert fcgi.body_of(c.request(b"abc", keep=True)[0]) == b"abc"


@pytest.mark.parametrize("family", ["unix", "tcp"])
def test_reload_in_a_loop_loses_nothing(daemon, apps, family):
    """HUP all the time under eight clients: every body comes back whole."""
    port = free_port()
    address = daemon.sock if family == "unix" else "127.0.0.1:%d" % port
    module(daemon, apps, listen=address, listen_mode="0666")

    with Load(8, echo(address)) as load:
        rounds = load.disturb(daemon.reload_well, seconds=often(2, 20))
    assert not load.lost, (len(load.lost), load.lost[:5])
    assert load.done > 20 and rounds > 2
    daemon.wait_workers(4)


def test_term_lets_running_requests_finish(daemon, apps):
    """TERM in the middle of requests and with connections in the backlog of each worker."""
    module(daemon, apps, workers=4)
    answers = []
    body, gate = os.urandom(200000), daemon.gate()

    def ask():
        answers.append(fcgi.get(daemon.sock, body, UNTIL=gate, SLEEP_MS="50"))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for t in threads:
        t.start()
    wait_for(lambda: daemon.busy() == 4)
    daemon.send(signal.SIGTERM)
    daemon.wait_log("SIGTERM: stops")
    make(gate)
    wait_for(lambda: not daemon.running())
    for t in threads:
        t.join()
    assert [fcgi.body_of(a) == body for a in answers] == [True] * 4
    assert not any(b"X-Interrupted" in a for a in answers)


def test_stop_timeout_cuts_what_never_ends(daemon, apps):
    module(daemon, apps, workers=1, stop_timeout="200ms")
    c = fcgi.Connection(daemon.sock)
    c.sock.sendall(fcgi.message(SLEEP_MS="60000"))
    worker = wait_for(lambda: [p for p in daemon.workers() if "busy" in title(p)])[0]
    daemon.end()
    assert not status(worker, "State") or status(worker, "State")[0] in "ZX"
    assert "did not stop within stop-timeout, killed with the request it had" in daemon.read_log()
    c.close()


def test_titles_show_the_state(daemon, apps):
    module(daemon, apps, workers=1)
    worker = daemon.workers("www")[0]
    gate = daemon.gate()
    with fcgi.Connection(daemon.sock) as c:
        c.sock.sendall(fcgi.message(UNTIL=gate))
        wait_for(lambda: title(worker) == "preforkd: www worker 1 busy")
        make(gate)
        wait_for(lambda: title(worker) == "preforkd: www worker 1 idle")
    assert children(worker) == []


def test_idle_workers_take_what_a_busy_one_holds(daemon, apps):
    """Kept connections that get requests at the same time are shared out among the workers."""
    module(daemon, apps, workers=1)
    holder = daemon.workers()[0]
    kept = [fcgi.Connection(daemon.sock) for _ in range(2)]
    for c in kept:
        assert fcgi.body_of(c.request(b"x", keep=True)[0]) == b"x"
    daemon.send(signal.SIGTTIN)
    daemon.wait_log(r"worker 2 is ready|2 workers wanted")
    wait_for(lambda: sum(title(p).endswith(" idle") for p in daemon.workers()) == 2)
    gate = daemon.gate()
    os.kill(holder, signal.SIGSTOP)  # so that it finds both requests at once
    wait_for(lambda: status(holder, "State").startswith("T"))
    for c in kept:
        c.sock.sendall(fcgi.message(b"y", keep=True, UNTIL=gate))
    os.kill(holder, signal.SIGCONT)
    wait_for(lambda: daemon.busy() == 2)
    make(gate)
    for c in kept:
        c.close()


@pytest.mark.quick
@pytest.mark.parametrize("keep", [False, True])
def test_calls_of_libfcgi(daemon, apps, keep):
    """All functions on streams, and those that look behind them, on one connection or many."""
    daemon.write(daemon.pool(module=apps + "/module_calls", workers=1))
    daemon.start()
    worker = daemon.workers()[0]
    expected = {"plain": (b"5", 0), "exit-status": (b"5", 300), "filter": (b"0", 0),
                "unget": (b"5", 0), "close": (b"5", 0), "flush": (b"5", 0), "is-cgi": (b"0", 0),
                "get-line": (b"2", 0), "print": (b"text  1.50 7 x %\n16", 0),
                "clear-error": (b"0", 0), "wrong-way": (b"5", 0), "detach": (b"5", 0),
                "init": (b"5", 0), "finish": (b"5", 0), "finish-twice": (b"5", 0),
                "free": (b"5", 0), "accept": (b"5", 0), "init-request": (b"5", 0),
                "accept-of-one": (b"5", 0), "free-streams": (b"5", 0)}
    c = fcgi.Connection(daemon.sock)
    for call, (number, status) in expected.items():
        for _ in range(2):
            answer = c.request(b"hello", keep=keep, CALL=call)
            assert (fcgi.body_of(answer[0]), answer[1]) == (number + b"\n", status), call
            if call == "close":
                assert c.stderr.endswith(b"to the log of the server")
            if not keep:
                c.close()
                c = fcgi.Connection(daemon.sock)
    c.close()
    assert daemon.workers() == [worker]
