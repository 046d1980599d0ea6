"""preforkctl top on a terminal: what it shows, its keys, and a daemon that goes away."""

import os
import re

import pytest

from ctl import CTL
from daemon import wait_for
from fakegate import FakeGate, latency, pool, says_status, status, worker
from terminal import Terminal


def top(fake, **kw):
    return Terminal([CTL, "-s", fake.path, "top"], **kw)


@pytest.mark.quick
def test_top_shows_and_quits(fake):
    busy = worker(2, state="busy", request={"method": "GET", "path": "/slow\x1b[2J", "seconds": 75})
    count = iter(range(0, 10 ** 6, 500))
    fake.answers["GET /status"] = lambda: (200, status(pool("www", [worker(1), busy],
                                                            requests=next(count))))
    with top(fake) as terminal:
        terminal.wait("GET /slow?[2J")
        lines = terminal.lines()
        at = next(i for i, line in enumerate(lines) if "SLOT" in line)
        assert lines[at + 1].split()[:5] == ["www", "2", "4002", "busy", "1m15s"]
        assert lines[at + 2].split()[:4] == ["www", "1", "4001", "idle"]
        assert "1 of 2 workers busy" in terminal.text()
        wait_for(lambda: re.match(r"[2-9]\d\d requests/s", terminal.lines()[1]))
        terminal.press(b"q")
        assert terminal.end() == 0
        assert b"\x1b[?25h" in terminal.raw  # the cursor is back


@pytest.mark.quick
def test_top_shows_time_and_bytes(fake):
    """Of the last second; and on a wide terminal what each worker has done."""
    count = iter(range(1000))

    def later():
        n = next(count)
        return 200, status(pool("www", [worker(1)], latency=latency(5, 60 * n, 40 * n),
                                bytes_in=n << 12, bytes_out=n << 20),
                           pool("php", [worker(2, bytes_in=None, last_seconds=None)], kind="command",
                                requests=None, bytes_in=None, bytes_out=None, latency=None))
    fake.answers["GET /status"] = later
    with top(fake, columns=150) as terminal:

        def figures(name, *titles):
            head, row = (next((line.split() for line in terminal.lines() if line.startswith(word)), [])
                         for word in ("POOL", name + " "))
            return [row[head.index(title)] for title in titles] if len(row) == len(head) > 12 else []

        wait_for(lambda: figures("www", "P50", "P95") == ["10ms", ">10ms"])
        wait_for(lambda: re.match(r"\d\d\dK 4.0K|4.0K [\d.]+[MK]",
                                  " ".join(figures("www", "IN/S", "OUT/S"))))
        assert figures("php", "P50", "P95", "IN/S", "OUT/S") == 4 * ["-"]
        head, one, two = ([line.split() for line in terminal.lines() if re.search(word, line)][0]
                          for word in ("SLOT", " 4001 ", " 4002 "))
        at = [head.index(title) for title in ("CONN", "IN", "OUT", "TOTAL", "LAST")]
        assert [one[i] for i in at] == ["0", "100", "2.0K", "1.50s", "10ms"]
        assert [two[i] for i in at] == ["0", "-", "2.0K", "1.50s", "-"]
        terminal.resize(24, 100)
        terminal.wait("REQUESTS  REQUEST")
        assert "CONN" not in terminal.text()
        terminal.press(b"q")
        assert terminal.end() == 0


@pytest.mark.quick
def test_top_sorts_and_scrolls(fake):
    says_status(fake, pool("www", [worker(i, resident_bytes=i << 20, requests=1000 - i)
                                   for i in range(1, 101)]))
    with top(fake, lines=20) as terminal:

        def rows():
            return [int(line.split()[1]) for line in terminal.lines() if line.startswith("www ")
                    and "idle" in line]

        terminal.wait("4003")
        assert rows()[:3] == [1, 2, 3]
        for key, first in ((b"s", "cpu"), (b"s", "memory")):
            terminal.press(key)
            terminal.wait("sort (%s)" % first)
        assert rows()[:3] == [100, 99, 98]
        terminal.press(b"s")
        terminal.wait("sort (requests)")
        assert rows()[:3] == [1, 2, 3]
        terminal.press(b"SSS")
        terminal.wait("sort (time)")
        terminal.press(b"\x1b[6~")
        terminal.wait(" %d    4%03d" % (13, 13))
        terminal.press(b"\x1b[4~")  # end
        terminal.wait("4100")
        assert rows()[-1] == 100 and rows()[0] > 85
        terminal.press(b"kk")
        terminal.wait("4098")
        terminal.press(b"\x1b[1~")  # home
        terminal.wait("4001")
        terminal.press(b"q")
        assert terminal.end() == 0


@pytest.mark.quick
def test_top_is_sized_to_the_terminal(fake):
    says_status(fake, *(pool("pool%d" % i, 5) for i in range(30)))
    with top(fake, lines=40) as terminal:
        terminal.wait("and 14 more pools")
        assert terminal.lines()[-1].startswith("q quit")
        terminal.resize(12, 50)
        terminal.wait("and 28 more pools")
        assert len(terminal.lines()) == 12 and terminal.lines()[-1].startswith("q quit")
        for lines, columns in ((1, 1), (2, 10), (5, 200), (60, 30)):
            terminal.resize(lines, columns)
            terminal.wait("q quit"[:columns])
        terminal.resize(40, 100)
        terminal.wait("and 14 more pools")
        terminal.press(b"q")
        assert terminal.end() == 0


@pytest.mark.quick
def test_top_reloads_after_a_question(fake):
    fake.answers["POST /reload"] = (409, {"ok": False, "message": "line 9 is wrong"})
    with top(fake) as terminal:
        terminal.wait("sort (time)")
        terminal.press(b"r")
        terminal.wait("y or n")
        terminal.press(b"n")
        terminal.wait("sort (time)")
        terminal.press(b"s")
        terminal.wait("sort (cpu)")
        assert "POST /reload" not in fake.asked and "y or n" not in terminal.text()
        terminal.press(b"ry")
        terminal.wait("reload: line 9 is wrong")
        fake.answers["POST /reload"] = (200, {"ok": True, "message": "reload 2 done"})
        terminal.press(b"ry")
        terminal.wait("reload 2 done")
        terminal.press(b"q")
        assert terminal.end() == 0
    assert fake.asked.count("POST /reload") == 2


def test_top_sends_a_reload_once(fake):
    """Also one that is lost while there is a connection that could be used again."""
    fake.answers["POST /reload"] = (None, b"")
    with top(fake) as terminal:
        terminal.wait("serving")
        wait_for(lambda: len(fake.asked) >= 2)
        terminal.press(b"ry")
        terminal.wait("closed before the answer")
        terminal.press(b"q")
        assert terminal.end() == 0
    assert fake.asked.count("POST /reload") == 1


def test_top_waits_for_a_daemon(place):
    """It is started first, and survives that the daemon goes and comes again."""
    with Terminal([CTL, "-s", place, "top"]) as terminal:
        terminal.wait("not running")
        with FakeGate(place):
            terminal.wait("serving")
            assert "not running" not in terminal.text()
        terminal.wait("OLD FIGURES")
        terminal.wait("not running")
        with FakeGate(place) as again:
            again.answers["GET /status"] = (503, {"ok": False, "message": "the master is silent"})
            terminal.wait("the master is silent")
            says_status(again, pool("other"))
            terminal.wait("other")
            assert "OLD" not in terminal.text() and "silent" not in terminal.text()
        terminal.press(b"q")
        assert terminal.end() == 0


def test_top_without_a_terminal(fake):
    fake.ctl.do("top", code=1, says="needs a terminal")
    with top(fake, env={"TERM": "no-such"}) as terminal:
        assert terminal.end() == 1
    assert b"unknown type" in terminal.raw


def test_top_ends_with_its_terminal(fake):
    terminal = top(fake)
    try:
        terminal.wait("serving")
        os.close(terminal.master)
        terminal.process.wait(10)
    finally:
        terminal.process.kill()
        terminal.process.wait()
        terminal.reader.join(10)
