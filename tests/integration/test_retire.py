"""Programs that know nothing of preforkd are retired without losing a request."""

import os
import re
import signal
import time

import pytest

import fcgi
from daemon import APPS, often, wait_for
from load import Load


def serve(program):
    """A request function: the body comes back whole, behind what the program puts before it."""
    def make(address, params, sizes):
        def request(rnd):
            body = rnd.randbytes(rnd.choice(sizes))
            answer = fcgi.body_of(fcgi.get(address, body, **params))
            if not answer.endswith(body) or len(answer) > len(body) + 20:
                raise fcgi.Lost("%d bytes became %d" % (len(body), len(answer)))
        return request
    return make


SIZES = (0, 10, 5000, 1 << 20)
CGI = {"QUERY_STRING": "", "REDIRECT_STATUS": "200", "SERVER_NAME": "x", "SERVER_PROTOCOL": "HTTP/1.1",
       "SERVER_PORT": "80"}
PROGRAMS = {
    "libfcgi": (APPS + "/plain", {}, SIZES),
    "perl": ("/usr/bin/perl %s/perl_fcgi.pl" % APPS, {}, SIZES),
    "php-cgi": ("/usr/bin/php-cgi", {**CGI, "SCRIPT_FILENAME": APPS + "/hello.php"}, SIZES),
    "fcgiwrap": ("/usr/sbin/fcgiwrap", {**CGI, "SCRIPT_FILENAME": APPS + "/hello.cgi"}, (0, 10, 5000)),
    "events": (APPS + "/events", {}, SIZES),
    "ruby": ("/usr/bin/ruby %s/ruby_fcgi.rb" % APPS, {}, SIZES),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_reload_loses_nothing(daemon, name):
    program, params, sizes = PROGRAMS[name]
    daemon.write(daemon.pool(command=program, workers=8))
    daemon.start()
    begun = time.monotonic()
    with Load(16, serve(name)(daemon.sock, params, sizes)) as load:
        load.disturb(daemon.reload_well, times=often(6, 100))
    assert not load.lost, (len(load.lost), load.lost[:3])
    wait_for(lambda: len(daemon.workers()) == 8)
    assert "did not stop within" not in daemon.read_log()
    print("%s: %d requests in %.1f s" % (name, load.done, time.monotonic() - begun))


def test_program_with_children_of_its_own(daemon):
    """php-cgi that forks its own workers: all of them are retired together."""
    program, params, sizes = PROGRAMS["php-cgi"]
    daemon.write(daemon.pool(command=program, workers=2, env_PHP_FCGI_CHILDREN=3))
    daemon.start()
    with Load(4, serve("php-cgi")(daemon.sock, params, sizes)) as load:
        load.disturb(daemon.reload_well, times=often(4, 50))
    assert not load.lost, (len(load.lost), load.lost[:3])
    wait_for(lambda: len(daemon.workers()) == 2)
    assert "did not stop within" not in daemon.read_log()


def test_pool_without_an_idle_moment(daemon):
    """16 clients on 4 workers: each retirement ends with the request in hand, and none is lost."""
    daemon.write(daemon.pool(command=APPS + "/plain", workers=4))
    daemon.start()
    took = []
    with Load(16, serve("libfcgi")(daemon.sock, {"SLEEP_MS": "5"}, (10, 5000))) as load:
        wait_for(lambda: load.done > 50)
        for _ in range(often(10, 100)):
            before = set(daemon.workers())
            assert daemon.reload() == "ok"
            began = time.monotonic()
            wait_for(lambda: not before & set(daemon.workers()))
            took.append(time.monotonic() - began)
    assert not load.lost, (len(load.lost), load.lost[:3])
    print("gone after %.1f ms (median), %.1f ms (longest)" %
          (sorted(took)[len(took) // 2] * 1000, max(took) * 1000))
    assert max(took) < 5  # not by stop-timeout, which is 30 s


@pytest.mark.parametrize("name", ["libfcgi", "events"])
def test_long_request_at_a_reload_completes(daemon, name):
    """It goes on in the old worker, and nobody waits for it."""
    daemon.write(daemon.pool(command=PROGRAMS[name][0], workers=2))
    daemon.start()
    with fcgi.Connection(daemon.sock) as slow:
        message = fcgi.message(b"x" * 1000, SLEEP_MS="1500")
        slow.sock.sendall(message[:-8])  # the end of the body comes later
        before = set(daemon.workers())
        assert daemon.reload() == "ok"
        wait_for(lambda: len(set(daemon.workers()) - before) == 2)
        for _ in range(20):
            assert fcgi.get(daemon.sock, b"y").endswith(b"y")
        assert len(before & set(daemon.workers())) >= 1
        slow.sock.sendall(message[-8:])
        data = b""
        slow.sock.setblocking(True)
        while True:
            got = slow.sock.recv(65536)
            if not got:
                break
            data += got
        slow.data = data
        assert b"".join(c for kind, c in slow._records() if kind == fcgi.STDOUT).endswith(b"x" * 1000)
    wait_for(lambda: not before & set(daemon.workers()))


@pytest.mark.parametrize("name", ["libfcgi", "perl", "events"])
def test_scaling_and_stopping_lose_nothing_in_hand(daemon, name):
    program, params, sizes = PROGRAMS[name]
    daemon.write(daemon.pool(command=program, workers=4))
    daemon.start()
    with Load(8, serve(name)(daemon.sock, params, sizes)) as load:
        for _ in range(often(3, 30)):
            for signo, count in ((signal.SIGTTOU, 3), (signal.SIGTTOU, 2), (signal.SIGTTIN, 3),
                                 (signal.SIGTTIN, 4)):
                daemon.send(signo)
                daemon.wait_workers(count)
    assert not load.lost, load.lost[:3]


def test_requests_in_hand_complete_at_stop(daemon):
    """TERM: what a program has accepted is answered whole."""
    from threading import Thread
    daemon.write(daemon.pool(command=APPS + "/plain", workers=4))
    daemon.start()
    answers = []
    body = b"z" * 300000

    def ask():
        answers.append(fcgi.get(daemon.sock, body, SLEEP_MS="700"))

    def accepted():
        connections = 0
        for pid in daemon.workers():
            connections += sum(os.readlink("/proc/%d/fd/%s" % (pid, fd)).startswith("socket:")
                               for fd in os.listdir("/proc/%d/fd" % pid))
        return connections == 8  # a listener and a connection in each

    threads = [Thread(target=ask) for _ in range(4)]
    for t in threads:
        t.start()
    wait_for(accepted)
    daemon.end()
    for t in threads:
        t.join()
    assert [fcgi.body_of(a).endswith(body) for a in answers] == [True] * 4


def test_master_killed_while_it_traces(daemon):
    """The kernel lets go of the program; it answers, and goes by its death signal."""
    for _ in range(often(5, 50)):
        daemon.write(daemon.pool(command=APPS + "/plain", workers=4))
        daemon.start()
        workers = daemon.workers()
        with Load(8, serve("libfcgi")(daemon.sock, {"SLEEP_MS": "20"}, (10,))):
            daemon.send(signal.SIGHUP)
            wait_for(lambda: len(daemon.workers()) > 4 or not set(workers) <= set(daemon.workers()))
            everyone = set(workers) | set(daemon.workers())
            os.kill(daemon.pid, signal.SIGKILL)
        wait_for(lambda: not any(os.path.exists("/proc/%d/fd/0" % p) for p in everyone))
        daemon.start()
        assert fcgi.get(daemon.sock)
        daemon.end()


@pytest.mark.root
def test_without_the_privilege_to_look(daemon):
    """No CAP_SYS_PTRACE and another user's workers: told to stop wherever they are, and it is said."""
    import subprocess
    from daemon import BINARY
    daemon.write(daemon.pool(command=APPS + "/plain", workers=2))
    with open(daemon.log, "a", encoding="utf-8") as log:
        daemon.process = subprocess.Popen(
            ["setpriv", "--bounding-set", "-sys_ptrace", "--inh-caps", "-sys_ptrace", BINARY, "-F",
             "-c", daemon.conf], stderr=log, env=daemon.environment())
    daemon.pid = daemon.process.pid
    daemon.wait_log("serving with")
    before = set(daemon.workers())
    assert daemon.reload() == "ok"
    wait_for(lambda: not before & set(daemon.workers()))
    daemon.wait_log("may not look into")
    assert fcgi.get(daemon.sock)


def test_worker_that_is_stopped_goes_all_the_same(daemon):
    daemon.write(daemon.pool(command=APPS + "/plain", workers=2))
    daemon.start()
    before = set(daemon.workers())
    os.kill(min(before), signal.SIGSTOP)
    assert daemon.reload() == "ok"
    wait_for(lambda: not before & set(daemon.workers()), 20)
    assert not re.search("did not stop within", daemon.read_log())
