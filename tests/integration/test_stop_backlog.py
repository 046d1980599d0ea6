"""A stop, or the end of a pool: whoever was let in is served, whoever comes later is refused at once."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

import fcgi
from ctl import Ctl
from daemon import BINARY, LIMIT, free_port, make, often, read, status, wait_for
from test_handover import unread, wait_told_to_leave
from test_listen import LAUNCH

CLIENTS, WORKERS = 64, 16
REFUSED = (ConnectionRefusedError, FileNotFoundError, BlockingIOError)  # the last: of a full backlog
KINDS = ("app", "module", "command")


def address_of(daemon, network):
    return {"unix": daemon.sock, "tcp": "127.0.0.1:%d" % free_port(), "any": "*:%d" % free_port(),
            "abstract": "@preforkd-test-%d" % os.getpid()}[network]


def reached(address):
    return address.replace("*", "127.0.0.1")


def pool(daemon, apps, kind, address, **keys):
    what = {"app": "counter", "module": apps + "/module_echo", "command": apps + "/plain"}[kind]
    mode = {"listen_mode": "0666"} if address[0] == "/" else {}
    return daemon.pool(listen=address, **{kind: what}, **mode, **keys)


class Crowd:
    """Clients that ask again and again until they are refused. What happens to them after a connect
    that succeeded is noted."""

    def __init__(self, address, count, sleep_ms=None):
        self.address, self.sleep_ms = address, sleep_ms
        self.served, self.lost, self.refused = 0, [], 0
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self._run, args=(i,)) for i in range(count)]
        for t in self.threads:
            t.start()

    def _ask(self, number):
        """False: it was refused."""
        try:
            c = fcgi.Connection(self.address)
        except REFUSED:
            return False
        with c:
            if self.sleep_ms is None:
                int(fcgi.body_of(c.request()[0]))
                return True
            body = b"%d-%d" % (number, self.served) * 50
            answer = fcgi.body_of(c.request(body, SLEEP_MS=str(self.sleep_ms))[0])
            if not answer.endswith(body) or len(answer) > len(body) + 20:
                raise fcgi.Lost("another body")
        return True

    def _run(self, number):
        try:
            while self._ask(number):
                with self.lock:
                    self.served += 1
            with self.lock:
                self.refused += 1
        except (fcgi.Lost, OSError, ValueError) as e:
            with self.lock:
                self.lost.append(repr(e))

    def join(self):
        for t in self.threads:
            t.join()


@pytest.mark.parametrize("network", ["unix", "tcp", "any", "abstract"])
@pytest.mark.parametrize("kind", KINDS)
def test_nobody_is_lost_by_a_stop_under_load(daemon, apps, kind, network):
    """64 clients on 16 workers: each connection that was made gets its whole answer, and then all are
    refused. Without a word of a worker that failed, or was replaced.
    Programs at an abstract address are the exception: nobody can be refused there until they are gone,
    but no more than one is let in at a time."""
    exception = (kind, network) == ("command", "abstract")
    waited = 0
    for _ in range(often(3, 30)):
        address = address_of(daemon, network)
        daemon.write(pool(daemon, apps, kind, address, workers=WORKERS))
        daemon.start()
        crowd = Crowd(reached(address), CLIENTS, None if kind == "app" else 10)
        wait_for(lambda crowd=crowd: crowd.served > 2 * CLIENTS or crowd.lost)
        assert daemon.end() in (None, 0)
        crowd.join()
        assert len(crowd.lost) <= (2 if exception else 0), (len(crowd.lost), crowd.lost[:3])
        assert crowd.refused + len(crowd.lost) == CLIENTS
        log = read(daemon.log)
        waited += log.count("that wait are served before its workers leave")
        assert not [line for line in log.splitlines()
                    if "replaced" in line or "killed" in line
                    or ("not served" in line and not exception)]
        os.unlink(daemon.log)
    assert waited > 0 or kind == "app"


class Queue:
    """Clients in the queue of a module's workers that are all busy until let go."""

    def __init__(self, daemon, apps, workers, waiting, address=None, **keys):
        listen = address or daemon.sock
        self.address, self.gate = reached(listen), daemon.gate()
        daemon.write(daemon.pool("other", listen=daemon.dir + "/other.sock", workers=1),
                     pool(daemon, apps, "module", listen, workers=workers, **keys),
                     control=daemon.dir + "/control.sock")
        daemon.start()
        self.busy = [self.client(b"busy", UNTIL=self.gate) for _ in range(workers)]
        wait_for(lambda: daemon.busy() == workers)
        self.waiting = [self.client(b"%d" % i) for i in range(waiting)]

    def client(self, body, **params):
        c = fcgi.Connection(self.address)
        c.sock.sendall(fcgi.message(body, **params))
        return c

    def let_go(self):
        make(self.gate)

    def check(self):
        """Every byte has come."""
        for c in self.busy:
            assert fcgi.body_of(c.answer()[0]) == b"busy"
        for i, c in enumerate(self.waiting):
            assert fcgi.body_of(c.answer()[0]) == b"%d" % i

    def close(self):
        for c in self.busy + self.waiting:
            c.close()

    def refuses(self):
        try:
            fcgi.connect(self.address).close()
            return False
        except REFUSED:
            return True


@pytest.fixture
def queue(daemon, apps):
    queues = []

    def fill(*args, **kw):
        queues.append(Queue(daemon, apps, *args, **kw))
        return queues[-1]
    yield fill
    for q in queues:
        q.let_go()
        q.close()


@pytest.mark.quick
@pytest.mark.parametrize("network", ["unix", "tcp", "any", "abstract"])
def test_backlog_is_served_and_newcomers_are_refused(daemon, queue, network):
    """Whoever comes now is refused at once, not left to hang; all who were let in are served."""
    q = queue(WORKERS, CLIENTS - WORKERS, address=address_of(daemon, network))
    daemon.send(signal.SIGTERM)
    daemon.wait_log("%d that wait are served before its workers leave" % (CLIENTS - WORKERS))
    begin = time.monotonic()
    assert q.refuses()
    assert time.monotonic() - begin < 0.5
    assert daemon.running()
    q.let_go()
    q.check()
    wait_for(lambda: not daemon.running())
    daemon.wait_log("pool www: nobody waits any more after [0-9]+ ms, its workers leave")
    assert "shut down" not in daemon.read_log()


@pytest.mark.quick
@pytest.mark.parametrize("how", ["QUIT", "TERM", "preforkctl"])
def test_every_way_to_stop_serves_the_backlog(daemon, queue, how):
    q = queue(1, 3)
    stop = threading.Thread(target=Ctl(daemon.dir + "/control.sock").do, args=("stop",))
    if how == "preforkctl":
        stop.start()
    else:
        daemon.send(getattr(signal, "SIG" + how))
    daemon.wait_log("3 that wait are served before its workers leave")
    q.let_go()
    q.check()
    wait_for(lambda: not daemon.running())
    if how == "preforkctl":
        stop.join()


@pytest.mark.parametrize("signals", [("INT",), ("TERM", "TERM"), ("TERM", "INT")])
def test_a_queue_does_not_delay_a_stop_at_once(daemon, queue, signals):
    queue(2, 5)
    for name in signals:
        daemon.send(getattr(signal, "SIG" + name))
        if name == "TERM":
            daemon.wait_log("SIGTERM: stops; running")
    wait_for(lambda: not daemon.running(), 10)
    assert "nobody waits any more" not in daemon.read_log()


def test_stop_timeout_bounds_the_wait_for_the_queue(daemon, queue):
    """A stuck worker: half of the time for the queue, and it is killed when all of it is over."""
    q = queue(1, 3, stop_timeout="4s")
    begin = time.monotonic()
    daemon.end()
    took = time.monotonic() - begin
    log = daemon.read_log()
    assert "pool www: 3 that wait at %s are not served: its workers were busy for half of " \
        "stop-timeout" % daemon.sock in log
    assert "did not stop within stop-timeout, killed" in log
    assert 3.9 < took < 5.8
    for c in q.busy + q.waiting:
        with pytest.raises((fcgi.Lost, OSError)):
            c.answer()


def test_queue_without_a_worker_is_not_waited_for(daemon):
    """Where workers fail to start nobody can be served: the stop says so, and goes on."""
    program = daemon.script("import os, socket, sys\n"
                            "if os.path.exists(%r): sys.exit(1)\n"
                            "socket.socket(fileno=0).accept()\n"
                            "import time; time.sleep(1000)\n" % (daemon.dir + "/fail"))
    daemon.write(daemon.pool(command=program, workers=1, stop_timeout="60s"))
    daemon.start()
    make(daemon.dir + "/fail")
    os.kill(daemon.workers()[0], signal.SIGKILL)
    daemon.wait_log("next try in 800 ms")
    with fcgi.Connection(daemon.sock) as c:
        c.sock.sendall(fcgi.message())
        daemon.end(limit=10)
    assert "1 that wait at %s are not served: no worker can be started" % daemon.sock \
        in daemon.read_log()


def test_client_of_a_pool_without_workers_is_served(daemon, apps):
    """0..N, and the first client comes just before the end: a worker is started for it."""
    for _ in range(often(5, 100)):
        daemon.write(pool(daemon, apps, "module", daemon.sock, workers="0..2"))
        daemon.start()
        with fcgi.Connection(daemon.sock) as c:
            daemon.send(signal.SIGSTOP)
            c.sock.sendall(fcgi.message(b"first"))
            daemon.send(signal.SIGTERM)
            daemon.send(signal.SIGCONT)
            assert fcgi.body_of(c.answer()[0]) == b"first"
        wait_for(lambda: not daemon.running())


@pytest.mark.quick
def test_kept_connections_at_a_stop(daemon, queue):
    """An idle one is closed at once, whatever keepalive-timeout says; a request that waits on another
    is served, and so is a client that was let in and has not spoken yet."""
    q = queue(1, 0, keepalive_timeout="1h")
    q.let_go()
    q.check()
    with fcgi.Connection(daemon.sock) as idle, fcgi.Connection(daemon.sock) as asks, \
            fcgi.Connection(daemon.sock) as busy:
        for c in (idle, asks, busy):
            assert fcgi.body_of(c.request(b"1", keep=True)[0]) == b"1"
        gate = daemon.gate()
        wait_for(lambda: daemon.busy() == 0)
        busy.sock.sendall(fcgi.message(b"2", UNTIL=gate, keep=True))
        wait_for(lambda: daemon.busy() == 1)
        asks.sock.setblocking(True)
        asks.sock.sendall(fcgi.message(b"3", keep=True))
        with fcgi.Connection(daemon.sock) as late:
            daemon.send(signal.SIGTERM)
            daemon.wait_log("1 that wait are served")
            begin = time.monotonic()
            make(gate)
            assert fcgi.body_of(busy.answer()[0]) == b"2"
            assert fcgi.body_of(asks.answer()[0]) == b"3"
            idle.sock.setblocking(True)
            assert idle.sock.recv(1) == b""
            assert fcgi.body_of(late.request(b"4")[0]) == b"4"
    wait_for(lambda: not daemon.running())
    assert time.monotonic() - begin < 5


def test_request_that_comes_while_a_worker_leaves(daemon, apps):
    """On a kept connection, behind another one that the worker serves on its way out."""
    daemon.write(daemon.pool(module=apps + "/module_echo", workers=1))
    daemon.start()
    worker, = daemon.workers()
    first, second = daemon.gate() + "1", daemon.gate() + "2"
    with fcgi.Connection(daemon.sock) as c:
        c.sock.sendall(fcgi.message(b"1", keep=True, UNTIL=first))
        wait_for(lambda: daemon.busy() == 1)
        daemon.send(signal.SIGTERM)
        wait_told_to_leave(worker)
        c.sock.sendall(fcgi.message(b"2", keep=True, UNTIL=second))
        make(first)
        assert fcgi.body_of(c.answer()[0]) == b"1"
        wait_for(lambda: not unread(c.sock))
        c.sock.setblocking(True)
        c.sock.sendall(fcgi.message(b"3", keep=True))
        make(second)
        assert [fcgi.body_of(c.answer()[0]) for _ in range(2)] == [b"2", b"3"]
    wait_for(lambda: not daemon.running())


def test_requests_between_two_workers_are_served(daemon, queue):
    """What a worker has given away, and none has taken yet, when all are told to leave."""
    q = queue(1, 0)
    q.let_go()
    q.check()
    kept = [fcgi.Connection(daemon.sock) for _ in range(6)]
    gates = [daemon.dir + "/first", daemon.dir + "/second"]
    for i, c in enumerate(kept):
        assert fcgi.body_of(c.request(b"%d" % i, keep=True)[0]) == b"%d" % i
    wait_for(lambda: daemon.busy() == 0)
    kept[0].sock.sendall(fcgi.message(b"0", UNTIL=gates[0]))
    wait_for(lambda: daemon.busy() == 1)
    for i, c in enumerate(kept[1:], 1):  # one of them is served, and the others given away
        c.sock.setblocking(True)
        c.sock.sendall(fcgi.message(b"%d" % i, UNTIL=gates[1]))
    make(gates[0])
    assert fcgi.body_of(kept[0].answer()[0]) == b"0"
    wait_for(lambda: daemon.busy() == 1)
    daemon.send(signal.SIGTERM)
    daemon.wait_log("SIGTERM: stops")
    wait_for(lambda: not os.path.exists(daemon.sock))
    make(gates[1])
    for i, c in enumerate(kept[1:], 1):
        assert fcgi.body_of(c.answer()[0]) == b"%d" % i
        c.close()
    kept[0].close()
    wait_for(lambda: not daemon.running())


def test_silent_clients_do_not_delay_a_stop(daemon, apps):
    """They connected long ago, or just now, and say nothing."""
    daemon.write(pool(daemon, apps, "module", daemon.sock, workers=2))
    daemon.start()
    with fcgi.Connection(daemon.sock), fcgi.Connection(daemon.sock):
        begin = time.monotonic()
        daemon.end()
        assert time.monotonic() - begin < 1.9


def launch(daemon, listener):
    with open(daemon.log, "a", encoding="utf-8") as log:
        daemon.process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, "1", str(listener.fileno()), "web", BINARY, "-F", "-c",
             daemon.conf], env=daemon.environment(), stderr=log, pass_fds=(listener.fileno(),))
    daemon.pid = daemon.process.pid
    wait_for(lambda: "serving with" in daemon.read_log())


@pytest.mark.parametrize("kind", ["module", "command"])
def test_inherited_listener_stays_open(daemon, apps, kind):
    """It belongs to whoever handed it in: clients may come during the stop, and wait for the next
    start."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        address = "127.0.0.1:%d" % listener.getsockname()[1]
        daemon.write(pool(daemon, apps, kind, "fd:web", workers=1))
        launch(daemon, listener)
        with fcgi.Connection(address) as busy:
            gate = daemon.gate()
            params = {"SLEEP_MS": "2500"} if kind == "command" else {"UNTIL": gate}
            busy.sock.sendall(fcgi.message(b"busy", **params))
            wait_for(lambda: kind == "command" or daemon.busy() == 1)
            first = fcgi.Connection(address)  # the worker would take both before
            first.sock.sendall(fcgi.message(b"first"))
            daemon.send(signal.SIGTERM)
            daemon.wait_log("its workers leave, though 1 wait at fd:web, which stays open")
            with fcgi.Connection(address) as second:
                second.sock.sendall(fcgi.message(b"second"))
                make(gate)
                assert fcgi.body_of(busy.answer()[0]).endswith(b"busy")
                busy.close()  # a program waits for that
                wait_for(lambda: not daemon.running())
                daemon.process.wait()
                os.unlink(daemon.log)
                launch(daemon, listener)
                assert fcgi.body_of(first.answer()[0]).endswith(b"first")
                first.close()
                assert fcgi.body_of(second.answer()[0]).endswith(b"second")
        assert fcgi.body_of(fcgi.get(address, b"third")).endswith(b"third")
        daemon.end()


@pytest.mark.quick
@pytest.mark.parametrize("network", ["unix", "tcp"])
def test_queue_of_a_removed_pool_is_served(daemon, queue, network):
    """A reload takes the pool away: it answers whom it has let in, and the others go on. It can come
    back meanwhile where its address is a path."""
    q = queue(2, 6, address=address_of(daemon, network))
    other = daemon.pool("other", listen=daemon.dir + "/other.sock", workers=1)
    daemon.write(other)
    assert daemon.reload() == "ok"
    daemon.wait_log("pool www: nobody is let in any more; 6 that wait are served")
    assert q.refuses()
    assert fcgi.number(daemon.dir + "/other.sock") > 0
    if network == "unix":
        daemon.write(other, daemon.pool(workers=1))
        assert daemon.reload() == "ok"
        assert fcgi.number(daemon.sock) > 0
    q.let_go()
    q.check()
    wait_for(lambda: len(daemon.workers()) == (2 if network == "unix" else 1))


def test_upgrade_waits_for_a_pool_that_closes(daemon, queue):
    q = queue(1, 2)
    daemon.write(daemon.pool("other", listen=daemon.dir + "/other.sock", workers=1))
    assert daemon.reload() == "ok"
    daemon.wait_log("nobody is let in any more")
    before = len(daemon.workers())
    daemon.send(signal.SIGUSR2)
    wait_for(lambda: not status(daemon.pid, "ShdPnd").strip("0"))
    daemon.send(signal.SIGTTIN)  # so that USR2 has been seen
    wait_for(lambda: len(daemon.workers()) > before)
    assert "upgrade 2 begins" not in daemon.read_log()
    q.let_go()
    q.check()
    daemon.wait_log("nobody waits any more")
    daemon.wait_log("upgrade 2 begins")
    wait_for(lambda: daemon.result() == (2, "ok"), LIMIT)


def test_address_that_moves_to_another_pool_stays_open(daemon, queue, apps):
    """Its queue is the new pool's: nobody is refused."""
    q = queue(1, 3)
    daemon.write(daemon.pool("www2", module=apps + "/module_echo", workers=1))
    assert daemon.reload() == "ok"
    assert not q.refuses()
    q.let_go()
    q.check()
    assert "let in" not in daemon.read_log()
