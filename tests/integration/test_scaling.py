"""workers = MIN..MAX follows the load; the clients notice nothing, and an idle pool costs nothing."""

import os
import select
import signal
import threading
import time

import pytest

import fcgi
from daemon import APPS, free_port, make, often, read, status, wait_for
from load import Load
from programs import KINDS, serve
from test_handover import Handover

KIND_AND_FAMILY = [(k, f) for k in KINDS for f in ("unix", "tcp")]


def address(daemon, family):
    return daemon.sock if family == "unix" else "127.0.0.1:%d" % free_port()


def ask_at_once(where, count, answers, **params):
    """So many clients, each with one request; returns the threads."""
    def ask():
        answers.append(fcgi.get(where, b"x", **params))
    threads = [threading.Thread(target=ask) for _ in range(count)]
    for t in threads:
        t.start()
    return threads


@pytest.mark.parametrize("kind, family", KIND_AND_FAMILY)
def test_from_none_to_all_and_back(daemon, kind, family):
    """50 parallel requests, none of which ends before: 50 workers; none is left when nobody comes."""
    where = address(daemon, family)
    daemon.write(daemon.pool(**KINDS[kind], listen=where, listen_mode="0666", workers="0..64",
                             idle_timeout="1s"))
    daemon.start()
    assert not daemon.workers()
    answers = []
    gate = daemon.gate()
    threads = ask_at_once(where, 50, answers, UNTIL=gate)
    wait_for(lambda: len(daemon.workers()) >= 50)
    assert not answers
    make(gate)
    for t in threads:
        t.join()
    assert len(answers) == 50 and all(a.endswith(b"x") for a in answers)
    daemon.wait_workers(0)
    assert fcgi.get(where, b"y").endswith(b"y")
    daemon.wait_workers(0)


def test_one_stays_while_connections_are_kept_open(daemon):
    """What comes on them would not start a worker. Then none is left."""
    daemon.write(daemon.pool(**KINDS["module"], workers="0..2", idle_timeout="100ms",
                             keepalive_timeout="3s"))
    daemon.start()
    with fcgi.Connection(daemon.sock) as c:
        for _ in range(3):
            assert c.request(b"y", keep=True)[0].endswith(b"y")
            c.sock.setblocking(True)
            time.sleep(0.5)  # some idle-timeouts
        assert c.sock.recv(1) == b""  # by keepalive-timeout
        daemon.wait_workers(0)
    assert fcgi.get(daemon.sock, b"y").endswith(b"y")
    daemon.wait_workers(0)


@pytest.mark.root
def test_worker_is_started_for_what_the_last_one_gave_away(daemon):
    """It was told to go when a connection came. It gives that away at its end, and we a little later:
    whenever that was in time there is an answer."""
    daemon.write(daemon.pool(**KINDS["module"], workers="0..2", idle_timeout="100ms"))
    daemon.start()
    assert fcgi.get(daemon.sock, b"y").endswith(b"y")
    with Handover(wait_for(daemon.workers)[0]) as handover:
        for _ in range(20):
            daemon.wait_workers(0)
            with handover.give(fcgi.message(b"abc")) as given:
                if select.select([given.sock], [], [], 1)[0]:
                    break
            assert fcgi.get(daemon.sock, b"y").endswith(b"y")
        else:
            pytest.fail("nobody has taken it")


@pytest.mark.parametrize("kind", KINDS)
def test_idle_pool_costs_no_wake_up(daemon, kind):
    daemon.write(daemon.pool(**KINDS[kind], workers="2..8", idle_timeout="200ms"))
    daemon.start()
    threads = ask_at_once(daemon.sock, 8, [], SLEEP_MS="300")
    wait_for(lambda: len(daemon.workers()) == 8)
    for t in threads:
        t.join()
    daemon.wait_workers(2)

    daemon.wait_rest()
    assert fcgi.get(daemon.sock, b"y").endswith(b"y")


@pytest.mark.parametrize("kind", KINDS)
def test_no_wake_up_for_each_request(daemon, kind):
    daemon.write(daemon.pool(**KINDS[kind], workers="1..2", idle_timeout="60s",
                             request_timeout="60s", slow_request="30s"))
    daemon.start()
    with Load(1, serve("libfcgi", daemon.sock, (1, 1), (10,))) as load:
        daemon.wait_workers(2)
        wait_for(lambda: load.done > 200)
        woken = int(status(daemon.pid, "voluntary_ctxt_switches"))
        done = load.done
        wait_for(lambda: load.done > done + 1000, 60)
        woken = int(status(daemon.pid, "voluntary_ctxt_switches")) - woken
        done = load.done - done
    print("%s: %d wake-ups for %d requests" % (kind, woken, done))
    assert woken < done / 10
    assert not load.lost


@pytest.mark.parametrize("kind", KINDS)
def test_growing_and_shrinking_lose_nothing(daemon, kind):
    """Waves of clients: every answer is whole, and the pool follows them up and down."""
    daemon.write(daemon.pool(**KINDS[kind], workers="1..16", idle_timeout="100ms"))
    daemon.start()
    lost = []
    for _ in range(often(3, 30)):
        with Load(12, serve("libfcgi", daemon.sock, (5, 5))) as load:
            wait_for(lambda: len(daemon.workers()) > 6, why="growth")
        lost += load.lost
        wait_for(lambda: len(daemon.workers()) == 1, why="shrinking")
    assert not lost, lost[:3]
    assert "killed" not in daemon.read_log()


@pytest.mark.parametrize("kind", KINDS)
def test_spare_workers_are_ready(daemon, kind):
    daemon.write(daemon.pool(**KINDS[kind], workers="1..8", spare=3, idle_timeout="300ms"))
    daemon.start()
    assert len(daemon.workers()) == 1
    threads = ask_at_once(daemon.sock, 2, [], SLEEP_MS="1500")
    daemon.wait_workers(5)
    for t in threads:
        t.join()
    daemon.wait_workers(1)


def test_busy_worker_is_never_taken(daemon):
    """What goes is idle: the long request is answered by the worker that began it."""
    daemon.write(daemon.pool(command=APPS + "/plain", workers="1..8", idle_timeout="100ms"))
    daemon.start()
    answers = []
    long = ask_at_once(daemon.sock, 1, answers, SLEEP_MS="2500")
    short = ask_at_once(daemon.sock, 7, [], SLEEP_MS="100")
    for t in short:
        t.join()
    wait_for(lambda: len(daemon.workers()) <= 2)
    assert not answers
    long[0].join()
    assert answers[0].endswith(b"x")
    daemon.wait_workers(1)


def test_command_on_two_addresses(daemon):
    """Each address gets workers by its own queue."""
    other = os.path.join(daemon.dir, "other.sock")
    daemon.write(daemon.pool(command=APPS + "/plain", listen="%s %s" % (daemon.sock, other),
                             listen_mode="0666", workers="0..8", idle_timeout="300ms"))
    daemon.start()
    for _ in range(3):
        answers = []
        threads = ask_at_once(other, 3, answers, SLEEP_MS="50") + \
            ask_at_once(daemon.sock, 3, answers, SLEEP_MS="50")
        for t in threads:
            t.join()
        assert len(answers) == 6
    daemon.wait_workers(0)


def test_address_without_workers_does_not_starve(daemon):
    """All MAX serve the other address without a pause: one of them comes over."""
    other = os.path.join(daemon.dir, "other.sock")
    daemon.write(daemon.pool(command=APPS + "/plain", listen="%s %s" % (daemon.sock, other),
                             listen_mode="0666", workers="0..3", idle_timeout="300ms"))
    daemon.start()
    with Load(6, serve("libfcgi", daemon.sock, (20, 20), (10,))) as load:
        wait_for(lambda: load.done > 20)
        for _ in range(often(3, 30)):
            assert fcgi.get(other, b"x").endswith(b"x")
        done = load.done
        wait_for(lambda: load.done > done + 20)
    assert not load.lost, load.lost[:3]
    daemon.wait_workers(0)


@pytest.mark.parametrize("kind", KINDS)
def test_reload_keeps_what_the_load_needs(daemon, kind):
    daemon.write(daemon.pool(**KINDS[kind], workers="1..8", idle_timeout="60s"))
    daemon.start()
    with Load(6, serve("libfcgi", daemon.sock, (20, 20), (10,))) as load:
        wait_for(lambda: len(daemon.workers()) >= 6)
        load.disturb(daemon.reload_well, times=often(5, 50))
        wait_for(lambda: 6 <= len(daemon.workers()) <= 8)
    assert not load.lost, load.lost[:3]


def test_request_on_a_kept_connection_wakes_too(daemon):
    """No new connection tells of it: the worker rings."""
    daemon.write(daemon.pool(module=APPS + "/module_echo", workers="1..4", spare=2,
                             idle_timeout="200ms"))
    daemon.start()
    with fcgi.Connection(daemon.sock) as c:
        c.request(b"a", keep=True)
        daemon.wait_workers(1)
        answer = []
        thread = threading.Thread(
            target=lambda: answer.append(c.request(b"b", keep=True, SLEEP_MS="1500")))
        thread.start()
        daemon.wait_workers(3)
        thread.join()
        assert answer[0][0].endswith(b"b")


def test_broken_program_on_demand(daemon):
    """It cannot start: tried with a growing delay, said in the log, and served when it is mended."""
    program = os.path.join(daemon.dir, "program")
    with open(program, "w", encoding="utf-8") as f:
        f.write("#!/bin/sh\nexit 3\n")
    os.chmod(program, 0o755)
    daemon.write(daemon.pool(command=program, workers="0..4"))
    daemon.start()
    answers = []
    thread = ask_at_once(daemon.sock, 1, answers)[0]
    daemon.wait_log("exited with code 3.*next try in 200 ms")
    assert daemon.read_log().count("cannot start") < 10
    daemon.wait_log("next try in 800 ms")
    daemon.wait_rest(most=6)
    os.replace(_link_to(daemon, APPS + "/plain"), program)
    thread.join()
    assert answers[0].endswith(b"x")


def _link_to(daemon, target):
    path = os.path.join(daemon.dir, "new")
    os.symlink(target, path)
    return path


@pytest.mark.quick
def test_scaling_by_hand_stays_within_the_range(daemon):
    daemon.write(daemon.pool(workers="1..3", idle_timeout="60s"))
    daemon.start()
    for signo, count in ((signal.SIGTTIN, 2), (signal.SIGTTIN, 3), (signal.SIGTTOU, 2), (signal.SIGTTIN, 3)):
        daemon.send(signo)
        daemon.wait_workers(count)
    daemon.send(signal.SIGTTIN)
    with Load(1, lambda _random: fcgi.get(daemon.sock)) as load:
        wait_for(lambda: load.done > 50)
    assert len(daemon.workers()) == 3


def test_worker_that_came_by_hand_goes_when_it_is_not_needed(daemon):
    """Even if nobody has connected since."""
    daemon.write(daemon.pool(workers="1..3", idle_timeout="100ms"))
    daemon.start()
    time.sleep(1)  # until nobody looks any more
    daemon.send(signal.SIGTTIN)
    daemon.wait_log("2 workers wanted")
    daemon.wait_log("1 workers are enough", 10)
    daemon.wait_workers(1)


@pytest.mark.parametrize("most", (2, 8))
def test_address_whose_workers_are_all_at_the_other(daemon, most):
    """Idle workers of one address are none for a connection to the other."""
    other = os.path.join(daemon.dir, "other.sock")
    daemon.write(daemon.pool(command=APPS + "/plain", listen="%s %s" % (daemon.sock, other),
                             listen_mode="0666", workers="0..%d" % most, idle_timeout="60s"))
    daemon.start()
    for where, count in ((other, 2), (daemon.sock, 1), (other, 1), (daemon.sock, 2)):
        answers = []
        for t in ask_at_once(where, count, answers, SLEEP_MS="100"):
            t.join(10)
        assert len(answers) == count
    assert len(daemon.workers()) <= most


def test_saturated_pool_costs_little(daemon):
    """With all workers that there may be nothing can be done for those that wait."""
    daemon.write(daemon.pool(command=APPS + "/plain", workers="2..20", idle_timeout="60s"))
    daemon.start()
    threads = ask_at_once(daemon.sock, 30, [], SLEEP_MS="2500")
    daemon.wait_workers(20)
    time.sleep(0.5)  # until the last one is ready, and the pause is at its longest
    before = cpu_time(daemon.pid)
    time.sleep(1)
    assert cpu_time(daemon.pid) - before < 0.1
    for t in threads:
        t.join()


def cpu_time(pid):
    """Seconds of a process."""
    fields = read("/proc/%d/stat" % pid).rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
