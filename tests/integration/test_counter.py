"""The counter: every number from 1 to R exactly once, whatever serves and however it is asked."""

import re
import subprocess
import threading

import pytest

import fcgi
from daemon import free_port, often, wait_for
from load import Load, Numbers


@pytest.mark.quick
def test_counts_from_one(daemon):
    daemon.write(daemon.pool())
    daemon.start()
    assert [fcgi.number(daemon.sock) for _ in range(5)] == [1, 2, 3, 4, 5]
    assert fcgi.get(daemon.sock) == b"Content-Type: text/plain\r\n\r\n6\n"


@pytest.mark.quick
def test_each_number_once_over_all_listeners(daemon):
    port = free_port()
    daemon.write(daemon.pool(listen="%s 127.0.0.1:%d" % (daemon.sock, port)))
    daemon.start()
    loads = [Numbers(daemon.sock), Numbers("127.0.0.1:%d" % port)]
    with Load(8, loads[0]) as a, Load(8, loads[1]) as b:
        wait_for(lambda: a.done + b.done >= often(3000, 100000), 300)
    assert not a.lost and not b.lost
    assert sorted(loads[0].seen + loads[1].seen) == list(range(1, a.done + b.done + 1))


def test_each_number_once_over_reloads_and_deaths(daemon):
    """The counter goes on over generations; a killed worker loses at most the number in its hand."""
    daemon.write(daemon.pool())
    daemon.start()
    numbers = Numbers(daemon.sock)
    with Load(4, numbers) as load:
        for _ in range(5):
            done = load.done
            assert daemon.reload() == "ok"
            wait_for(lambda: load.done > done)
    assert not load.lost
    numbers.check()


@pytest.mark.quick
def test_kept_connection_answers_many(daemon):
    """FCGI_KEEP_CONN: one connection, many requests; it does not keep the only worker from others."""
    daemon.write(daemon.pool(workers=1))
    daemon.start()
    with fcgi.Connection(daemon.sock) as kept:
        assert kept.request(keep=True)[0].endswith(b"\n1\n")
        assert kept.request(keep=True)[0].endswith(b"\n2\n")
        assert fcgi.number(daemon.sock) == 3
        assert kept.request(keep=True)[0].endswith(b"\n4\n")
        assert kept.request(keep=False)[0].endswith(b"\n5\n")
        kept.sock.setblocking(True)
        assert kept.sock.recv(1) == b""


def test_garbage_costs_nobody_else(daemon):
    """Bytes that are no FastCGI, half requests and silent closes do not end a worker."""
    daemon.write(daemon.pool(workers=2))
    daemon.start()
    before = daemon.workers()
    good = fcgi.message()
    for data in (b"", b"GET / HTTP/1.0\r\n\r\n", b"\x01\x01\x00\x01", good[:20], good[:-8],
                 b"\xff" * 4096, fcgi.record(9), fcgi.record(1, b"\x00\x09\x00\x00\x00\x00\x00\x00")):
        s = fcgi.connect(daemon.sock)
        s.sendall(data)
        s.close()

    def in_a_row():
        """Those whose head was whole are counted, when they are served."""
        numbers = [fcgi.number(daemon.sock) for _ in range(5)]
        return numbers == list(range(numbers[0], numbers[0] + 5))
    wait_for(in_a_row)
    assert sorted(daemon.workers()) == sorted(before)
    threads = [threading.Thread(target=fcgi.number, args=(daemon.sock,)) for _ in range(20)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()


@pytest.mark.quick
def test_silent_connections_stop_nobody(daemon):
    """Connections without a byte on them, more than there are workers: others are served."""
    port = free_port()
    address = "127.0.0.1:%d" % port
    daemon.write(daemon.pool(listen="%s %s" % (daemon.sock, address), workers=2))
    daemon.start()
    silent = [fcgi.Connection(a) for a in (daemon.sock, address) for _ in range(10)]
    assert [fcgi.number(a) for a in (daemon.sock, address)] == [1, 2]
    assert daemon.reload() == "ok"
    daemon.wait_workers(2)
    assert [int(fcgi.body_of(c.request()[0])) for c in silent] == list(range(3, 23))
    for c in silent:
        c.close()


def test_behind_nginx(daemon, nginx):
    """The figures of the issue: many requests through nginx, no error, no number twice."""
    daemon.write(daemon.pool())
    daemon.start()
    url = nginx("unix:" + daemon.sock)
    total = often(5000, 100000)
    before = fcgi.number(daemon.sock)  # the first told that nginx is there
    done = subprocess.run(["ab", "-q", "-n", str(total), "-c", "16", url], capture_output=True,
                          text=True, timeout=300, check=True)
    # the answers get longer as the number grows: ab calls that a "length" failure, and nothing else
    failed = re.search(r"\(Connect: (\d+), Receive: (\d+), Length: \d+, Exceptions: (\d+)\)",
                       done.stdout)
    assert failed is None or failed.groups() == ("0", "0", "0"), done.stdout
    assert "Non-2xx" not in done.stdout, done.stdout
    assert fcgi.number(daemon.sock) == before + total + 1
