"""Signals to the master, and the transaction that a reload is."""

import os
import signal
import subprocess
import threading

import pytest

import fcgi
from daemon import APPS, alive, free_port, make, often, read, title, wait_for
from load import Load, Numbers, echo, noise


@pytest.mark.quick
@pytest.mark.parametrize("name", ["TERM", "QUIT", "INT"])
def test_stops(daemon, name):
    daemon.write(daemon.pool())
    daemon.start_foreground()
    daemon.write(daemon.pool())
    workers = daemon.workers()
    assert daemon.end(getattr(signal, "SIG" + name)) == 0
    assert not any(alive(p) for p in workers)
    assert not os.path.exists(daemon.sock) and not os.path.exists(daemon.pidfile)
    assert "stopped" in daemon.read_log()


@pytest.mark.parametrize("kind", ["module", "command"])
def test_int_stops_at_once_and_so_does_a_second_term(daemon, apps, kind):
    keys = {"module": {"module": apps + "/module_echo"}, "command": {"command": apps + "/plain"}}[kind]
    for signals in ((signal.SIGINT,), (signal.SIGTERM, signal.SIGTERM)):
        daemon.write(daemon.pool(workers=1, stop_signal="WINCH", **keys))
        daemon.start()
        with fcgi.Connection(daemon.sock) as c:
            c.sock.sendall(fcgi.message(SLEEP_MS="60000"))
            wait_for(lambda: kind == "command" or "busy" in title(daemon.workers()[0]))
            for signo in signals:
                daemon.send(signo)
                if signo == signal.SIGTERM:
                    daemon.wait_log("SIGTERM: ")
            wait_for(lambda: not daemon.running(), 20)


def test_nobody_is_let_in_after_term(daemon, apps):
    """A request in hand is finished, and who was let in before can still ask."""
    daemon.write(daemon.pool(module=apps + "/module_echo", workers=1))
    daemon.start()
    got = []
    body, gate = b"x" * 100000, daemon.gate()
    t = threading.Thread(target=lambda: got.append(fcgi.get(daemon.sock, body, UNTIL=gate)))
    t.start()
    wait_for(lambda: daemon.busy() == 1)
    with fcgi.Connection(daemon.sock) as late:
        daemon.send(signal.SIGTERM)
        daemon.wait_log("SIGTERM: stops")
        wait_for(lambda: not os.path.exists(daemon.sock))
        make(gate)
        assert fcgi.body_of(late.request(b"late")[0]) == b"late"
    t.join()
    assert fcgi.body_of(got[0]) == body
    wait_for(lambda: not daemon.running())


@pytest.mark.quick
def test_hup_respawns_every_worker(daemon, apps):
    daemon.write(daemon.pool("one"),
                 daemon.pool("two", listen=daemon.dir + "/two.sock", command=apps + "/plain"))
    daemon.start()
    before = set(daemon.workers())
    assert daemon.reload() == "ok"
    wait_for(lambda: not before & set(daemon.workers()))
    assert len(daemon.wait_workers(8)) == 8
    assert fcgi.number(daemon.sock) == 1
    assert daemon.result() == (1, "ok")


@pytest.mark.quick
def test_hup_takes_the_new_configuration(daemon):
    """More workers, another pool, a pool less; the others go on."""
    daemon.write(daemon.pool("one", workers=2))
    daemon.start()
    daemon.write(daemon.pool("one", workers=3),
                 daemon.pool("two", listen=daemon.dir + "/two.sock", workers=1))
    assert daemon.reload() == "ok"
    wait_for(lambda: (len(daemon.workers("one")), len(daemon.workers("two"))) == (3, 1))
    assert fcgi.get(daemon.dir + "/two.sock")
    daemon.write(daemon.pool("one", workers=1))
    assert daemon.reload() == "ok"
    wait_for(lambda: (len(daemon.workers("one")), len(daemon.workers("two"))) == (1, 0))
    wait_for(lambda: not os.path.exists(daemon.dir + "/two.sock"))
    assert fcgi.get(daemon.sock)


FAILING = {
    "an output that cannot be opened": (lambda d, a: d.pool(output=d.dir + "/none/out"), "cannot open"),
    "a bad line": (lambda d, a: d.pool(workers="many"), ":9: workers"),
    "an unknown user": (lambda d, a: d.pool(user="no-such-user"), "no-such-user"),
    "a missing program": (lambda d, a: d.pool(command="/nonexistent"), "cannot run /nonexistent"),
    "a program that dies": (lambda d, a: d.pool("new", listen=d.dir + "/new.sock",
                                                command="/bin/false"), "exited with code 1"),
    "a module that refuses": (lambda d, a: d.pool(module=a + "/module_echo fail"), "returned 3"),
    "no module": (lambda d, a: d.pool(module=a + "/hello.php"), "cannot load the module"),
    "an address in use": (lambda d, a: d.pool(listen="%s 127.0.0.1:%d" % (d.sock, d.taken)),
                          "it is in use"),
    "another kind on the same address": (lambda d, a: d.pool(command=a + "/plain"), "needs a restart"),
    "no file": (None, "No such file"),
}


@pytest.mark.parametrize("why", FAILING)
def test_failed_reload_changes_nothing(daemon, apps, why):
    """The old workers serve on, the same processes; the log and the result say why."""
    import socket
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        daemon.taken = s.getsockname()[1]
        daemon.write(daemon.pool())
        daemon.start()
        before = sorted(daemon.workers())
        make, words = FAILING[why]
        if make is None:
            os.unlink(daemon.conf)
        else:
            daemon.write(make(daemon, apps))
        with Load(2, Numbers(daemon.sock)) as load:
            result = daemon.reload()
        assert result.startswith("failed: ") and words in result, result
        assert not load.lost
        wait_for(lambda: sorted(daemon.workers()) == before)
        assert "the old workers serve on" in daemon.read_log() and words in daemon.read_log()
        assert not os.path.exists(daemon.dir + "/new.sock")
        daemon.write(daemon.pool())
        assert daemon.reload() == "ok"
        wait_for(lambda: not set(before) & set(daemon.workers()))


def test_failed_reload_does_not_slow_the_old_workers(daemon):
    """The back-off of a program that cannot start is not that of those that serve."""
    daemon.write(daemon.pool(command=APPS + "/plain", workers=6))
    daemon.start()
    before = set(daemon.workers())
    daemon.write(daemon.pool(command="/bin/false", workers=6))
    assert daemon.reload().startswith("failed")
    assert "next try in" not in daemon.read_log()
    wait_for(lambda: set(daemon.workers()) == before)
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: len(set(daemon.workers()) - before) == 6)
    assert "next try in" not in daemon.read_log()


def test_log_that_cannot_be_opened_fails_the_reload(daemon):
    daemon.write(daemon.pool())
    daemon.start()
    daemon.write(daemon.pool(), log=daemon.dir + "/none/log")
    assert "%s:3: log: cannot open" % daemon.conf in daemon.reload()


def test_changes_that_need_a_restart_are_said(daemon):
    """The reload is done, and the log says what it could not change."""
    daemon.write(daemon.pool())
    daemon.start()
    daemon.write(daemon.pool(listen=daemon.sock, listen_mode="0600"), pid_file=daemon.dir + "/x.pid")
    assert daemon.reload() == "ok"
    for key in ("pid-file", "listen-mode"):
        daemon.wait_log("the change of %s takes effect at a restart" % key)


def test_failed_reload_leaves_the_backlog(daemon):
    port = free_port()
    listen = "127.0.0.1:%d" % port

    def backlog():
        return subprocess.run(["ss", "-Hltn", "sport = :%d" % port], capture_output=True, text=True,
                              check=True).stdout.split()[2]

    daemon.write(daemon.pool(listen=listen, listen_backlog=100))
    daemon.start()
    daemon.write(daemon.pool(listen=listen, listen_backlog=50),
                 daemon.pool("bad", listen=daemon.sock, command="/bin/false"))
    assert daemon.reload().startswith("failed")
    assert backlog() == "100"
    daemon.write(daemon.pool(listen=listen, listen_backlog=50))
    assert daemon.reload() == "ok"
    assert backlog() == "50"


def test_hups_coalesce(daemon):
    """A hundred at once are a few reloads, the last of them after the last signal."""
    daemon.write(daemon.pool())
    daemon.start()
    for _ in range(100):
        daemon.send(signal.SIGHUP)
    wait_for(lambda: daemon.result()[1] == "ok")
    before, _ = daemon.result()
    assert daemon.reload() == "ok"
    assert daemon.result()[0] <= before + 2 <= 102
    daemon.wait_workers(4)


def test_at_most_twice_the_workers(daemon):
    """Whatever comes: reloads in a loop under slow stops never have more than 2 N workers."""
    daemon.write(daemon.pool(workers=4))
    daemon.start()
    most = []
    stop = threading.Event()

    def watch():
        while not stop.is_set():
            most.append(len(daemon.workers()))

    t = threading.Thread(target=watch)
    t.start()
    for _ in range(often(10, 200)):
        assert daemon.reload() == "ok"
    stop.set()
    t.join()
    assert max(most) <= 8
    daemon.wait_workers(4)


def test_term_beats_a_running_reload(daemon, apps):
    daemon.write(daemon.pool())
    daemon.start()
    daemon.write(daemon.pool("slow", listen=daemon.dir + "/slow.sock", start_timeout="60s",
                             command="/bin/sleep 1000"))
    daemon.send(signal.SIGHUP)
    wait_for(lambda: any("sleep" in title(p) for p in daemon.workers()))
    daemon.end()


@pytest.mark.quick
def test_ttin_ttou(daemon, apps):
    daemon.write(daemon.pool("one", workers=2),
                 daemon.pool("two", listen=daemon.dir + "/two.sock", command=apps + "/plain",
                             workers=1))
    daemon.start()
    daemon.send(signal.SIGTTIN)
    daemon.wait_workers(5)
    daemon.send(signal.SIGTTIN)
    daemon.wait_workers(7)
    for left in (5, 3, 2, 2):  # never below one of each
        daemon.send(signal.SIGTTOU)
        daemon.wait_workers(left)
    assert fcgi.get(daemon.sock) and fcgi.get(daemon.dir + "/two.sock")
    assert daemon.reload() == "ok"
    daemon.wait_workers(3)  # a reload goes back to the file


def test_scaling_down_loses_nothing(daemon, apps):
    daemon.write(daemon.pool(module=apps + "/module_echo", workers=4))
    daemon.start()
    with Load(6, echo(daemon.sock)) as load:
        for _ in range(often(5, 100)):
            for signo, count in ((signal.SIGTTOU, 3), (signal.SIGTTOU, 2), (signal.SIGTTIN, 3),
                                 (signal.SIGTTIN, 4)):
                daemon.send(signo)
                daemon.wait_workers(count)
    assert not load.lost, load.lost[:3]


@pytest.mark.quick
def test_usr1_reopens_the_logs(daemon, apps):
    """logrotate's way: rename, USR1; both the log and the workers' output go to new files."""
    output = os.path.join(daemon.dir, "output.log")
    daemon.write(daemon.pool(module=apps + "/module_echo", output=output, workers=1))
    daemon.start()
    fcgi.get(daemon.sock, PRINT="before")
    wait_for(lambda: "before" in read(output))
    for path in (daemon.log, output):
        os.rename(path, path + ".1")
    daemon.send(signal.SIGUSR1)
    wait_for(lambda: "logs reopened" in read(daemon.log))
    fcgi.get(daemon.sock, PRINT="after")
    wait_for(lambda: "after" in read(output))
    assert "before" not in read(output) and "after" not in read(output + ".1")
    assert "serving with" in read(daemon.log + ".1") and "serving with" not in read(daemon.log)


def test_log_that_cannot_be_reopened_stays(daemon):
    logs = os.path.join(daemon.dir, "logs")
    os.mkdir(logs)
    daemon.write(daemon.pool(), log=logs + "/log")
    daemon.start()
    os.rename(logs, logs + ".old")
    daemon.send(signal.SIGUSR1)
    wait_for(lambda: "the log stays in the old file" in read(logs + ".old/log"))
    assert fcgi.get(daemon.sock)


@pytest.mark.quick
def test_pipe_does_nothing(daemon):
    daemon.write(daemon.pool())
    daemon.start()
    before = daemon.workers()
    daemon.send(signal.SIGPIPE)
    assert daemon.reload() == "ok"
    assert fcgi.get(daemon.sock) and before


def test_reload_after_the_log_moved_in_the_file(daemon):
    other = os.path.join(daemon.dir, "other.log")
    daemon.write(daemon.pool())
    daemon.start()
    daemon.write(daemon.pool(), log=other)
    assert daemon.reload() == "ok"
    wait_for(lambda: "reload 1 done" in read(other))


def test_hup_through_nginx_with_large_bodies(daemon, apps, nginx):
    """What the deploy of a site sees: POST bodies through nginx while HUP comes all the time."""
    from webserver import fetch
    port = free_port()
    daemon.write(daemon.pool(module=apps + "/module_echo", listen="127.0.0.1:%d" % port))
    daemon.start()
    url = nginx("127.0.0.1:%d" % port)

    def request(rnd):
        body = noise(rnd, rnd.choice((10, 1 << 20)))
        assert fetch(url, body) == body

    with Load(8, request) as load:
        load.disturb(daemon.reload_well, seconds=often(2, 20))
    assert not load.lost, (len(load.lost), load.lost[:3])


def test_result_file_is_safe_to_read(daemon):
    """Whole or not there, never half; gone with the daemon."""
    daemon.write(daemon.pool())
    daemon.start()
    done = threading.Event()
    bad = []

    def watch():
        while not done.is_set():
            text = read(daemon.pidfile + ".reload")
            if not text.endswith("\n") or len(text.split()) != 2:
                bad.append(text)

    t = threading.Thread(target=watch)
    t.start()
    for _ in range(20):
        assert daemon.reload() == "ok"
    done.set()
    t.join()
    assert not bad, bad[:3]
    assert subprocess.run(["stat", "-c", "%a", daemon.pidfile + ".reload"], capture_output=True,
                          text=True, check=True).stdout.strip() in ("600", "644")


@pytest.mark.quick
def test_idle_kept_connections_survive_a_reload(daemon, apps):
    """FCGI_KEEP_CONN: the next generation takes over connections with what has arrived on them."""
    port = free_port()
    address = "127.0.0.1:%d" % port
    daemon.write(daemon.pool(module=apps + "/module_echo", listen="%s %s" % (daemon.sock, address)))
    daemon.start()
    kept = [fcgi.Connection(a) for a in (daemon.sock, address) for _ in range(20)]
    for round_ in range(4):
        for c in kept:
            assert fcgi.body_of(c.request(b"%d" % round_, keep=True)[0]) == b"%d" % round_
        before = set(daemon.workers())
        if round_ < 2:
            assert daemon.reload() == "ok"
            wait_for(lambda: not before & set(daemon.workers()))
        elif round_ == 2:  # three of four leave: the last one has them all
            for left in (3, 2, 1):
                daemon.send(signal.SIGTTOU)
                daemon.wait_workers(left)
    daemon.send(signal.SIGTERM)
    for c in kept:
        c.sock.setblocking(True)
        assert c.sock.recv(1) == b""
        c.close()


def test_requests_on_kept_connections_survive_reloads_under_load(daemon, apps):
    """Clients that keep their connection and never retry: none of them sees the reloads."""
    daemon.write(daemon.pool(module=apps + "/module_echo"))
    daemon.start()
    local = threading.local()
    connections = []

    def request(rnd):
        if not hasattr(local, "c"):
            local.c = fcgi.Connection(daemon.sock)
            connections.append(local.c)
        body = noise(rnd, rnd.choice((3, 5000, 300000)))
        if fcgi.body_of(local.c.request(body, keep=True)[0]) != body:
            raise fcgi.Lost("another body")

    with Load(8, request) as load:
        load.disturb(daemon.reload_well, seconds=often(2, 20))
    assert not load.lost, (len(load.lost), load.lost[:3])
    assert len(connections) == 8
    for c in connections:
        c.close()


def test_signals_until_the_very_end_leave_nothing_behind(daemon):
    """TERM again and again while it stops: the pidfile and the socket are removed all the same."""
    daemon.write(daemon.pool(workers=1))
    for _ in range(often(15, 300)):
        daemon.start()
        try:
            while daemon.running():
                daemon.send(signal.SIGTERM)
        except ProcessLookupError:
            pass
        assert not os.path.exists(daemon.pidfile) and not os.path.exists(daemon.sock)
