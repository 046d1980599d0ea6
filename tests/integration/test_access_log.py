"""The access log: a line for each request, whatever clients send, moves and disks do."""

import ctypes
import fcntl
import glob
import itertools
import json
import os
import re
import signal
import socket
import threading
import time

import pytest

import fcgi
from daemon import APPS, Daemon, duplicate, often, read, sockets, wait_for
from load import Load

COMBINED = re.compile(r'(\S+) - (\S+) \[(\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\] '
                      r'"(\S+) (\S*) (\S+)" (\d+) (\d+) "([^"]*)" "([^"]*)"')


def serves(daemon, **keys):
    keys = {"module": APPS + "/module_echo", "access_log": path_of(daemon), **keys}
    daemon.write(daemon.pool(**keys))
    return daemon.start()


def path_of(daemon):
    return daemon.dir + "/access.log"


def lines(path, count=None):
    """The whole lines of a file, which has so many, or comes to have."""
    if count is not None:
        wait_for(lambda: read(path).count("\n") >= count)
    text = open(path, encoding="utf-8", errors="surrogateescape", newline="\n").read()
    assert text == "" or text[-1] == "\n"
    found = text.split("\n")[:-1]
    assert count is None or len(found) == count
    return found


def holds(pid, path):
    """Does the process have this file open, or one that was it?"""
    try:
        names = os.listdir("/proc/%d/fd" % pid)
        return any(os.readlink("/proc/%d/fd/%s" % (pid, n)).startswith(path) for n in names)
    except OSError:
        return False


@pytest.mark.quick
def test_ready_made_formats(daemon):
    """What a log analyzer reads out of them is what was sent."""
    asked = {"REMOTE_ADDR": "192.0.2.7", "REMOTE_USER": "ann", "REQUEST_URI": "/a?b=c",
             "SERVER_PROTOCOL": "HTTP/1.1", "HTTP_REFERER": "http://x/", "HTTP_HOST": "h",
             "HTTP_USER_AGENT": "Agent/1", "REQUEST_ID": "id7", "HEAD": "Status: 404 Not Found"}
    serves(daemon, workers=1)
    worker = daemon.workers()[0]
    before = time.time()
    assert fcgi.body_of(fcgi.get(daemon.sock, b"x" * 1000, **asked)) == b"x" * 1000
    line, = lines(path_of(daemon), 1)
    found = COMBINED.fullmatch(line).groups()
    assert found[:2] == ("192.0.2.7", "ann") and found[3:] == (
        "POST", "/a?b=c", "HTTP/1.1", "404", "1000", "http://x/", "Agent/1")
    at = time.mktime(time.strptime(found[2].split(" ")[0], "%d/%b/%Y:%H:%M:%S"))
    assert before - 2 < at < time.time() + 1
    serves_again = {"access_format": "common", "access_log": path_of(daemon) + "2"}
    daemon.write(daemon.pool(module=APPS + "/module_echo", workers=1, **serves_again))
    daemon.reload_well()
    assert fcgi.get(daemon.sock, **asked)
    assert lines(path_of(daemon) + "2", 1)[0].endswith('"GET /a?b=c HTTP/1.1" 404 0')
    daemon.write(daemon.pool(module=APPS + "/module_echo", workers=1, access_format="json",
                             access_log=path_of(daemon) + "3"))
    daemon.reload_well()
    wait_for(lambda: worker not in daemon.workers())
    assert fcgi.get(daemon.sock, b"abc", SLEEP_MS="20", **asked)
    entry = json.loads(lines(path_of(daemon) + "3", 1)[0])
    assert entry.pop("time").startswith(time.strftime("%Y-"))
    assert 0.02 <= entry.pop("time_s") < 10 and entry.pop("bytes_in") > 200
    assert entry.pop("pid") in daemon.workers()
    assert entry == {"pool": "www", "remote_addr": "192.0.2.7", "remote_user": "ann", "host": "h",
                     "method": "POST", "uri": "/a?b=c", "protocol": "HTTP/1.1", "status": 404,
                     "bytes": 3, "referer": "http://x/", "user_agent": "Agent/1",
                     "request_id": "id7"}


@pytest.mark.quick
def test_format_of_ones_own(daemon):
    serves(daemon, workers=1, access_format="'%{param:X-Y}|%{path}|%{query}|%{status}|%{bytes}|"
                                            "%{bytes_in}|%{time_us}|%{time_s}|%{pool}|100%% ;'")
    params = {"SCRIPT_NAME": "/s", "PATH_INFO": "/i", "QUERY_STRING": "q", "X-Y": "z"}
    size = len(fcgi.pairs({"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "70000", **params}))
    assert fcgi.get(daemon.sock, b"x" * 70000, **params)
    *fields, took, seconds, pool, rest = lines(path_of(daemon), 1)[0].split("|")
    assert fields == ["z", "/s/i", "q", "200", "70000", str(70000 + size)]
    assert (pool, rest) == ("www", "100% ;") and abs(int(took) / 1e6 - float(seconds)) < 2e-6


def answers(daemon, **params):
    """What became of a request, in the words of the log: status and bytes."""
    before = len(lines(path_of(daemon)))
    try:
        fcgi.get(daemon.sock, **params)
    except (fcgi.Lost, OSError):
        pass
    return lines(path_of(daemon), before + 1)[-1]


@pytest.mark.quick
def test_every_end_of_a_request_has_its_line(daemon):
    """Redirects, answers without a head, those of preforkd, and clients that go away."""
    serves(daemon, workers=1, access_format="%{status} %{bytes} %{query}", request_timeout="500ms",
           send_timeout="300ms")
    assert answers(daemon) == "200 0 -"
    assert answers(daemon, body=b"12345", HEAD="Location: http://x/") == "302 5 -"
    assert answers(daemon, HEAD="Status: 201\r\nLocation: /x") == "201 0 -"
    with fcgi.Connection(daemon.sock) as c:  # and on a kept connection
        for n in range(3):
            assert c.request(b"x" * n, keep=True, QUERY_STRING="k%d" % n)
    assert lines(path_of(daemon), 6)[3:] == ["200 %d k%d" % (n, n) for n in range(3)]
    # that of a request that takes too long is written as its worker ends
    assert re.fullmatch(r"504 \d+ slow", answers(daemon, SLEEP_MS="60000", QUERY_STRING="slow"))
    wait_for(lambda: len(daemon.workers()) == 1)
    with fcgi.connect(daemon.sock) as s:  # goes without its answer
        s.sendall(fcgi.message(b"x" * 100000, QUERY_STRING="gone"))
        s.shutdown(socket.SHUT_RDWR)
    status, count, query = lines(path_of(daemon), 8)[-1].split()
    assert query == "gone" and int(count) <= 100000 and status in ("200", "0")


@pytest.mark.quick
@pytest.mark.parametrize("kind", ["combined", "json"])
def test_foreign_bytes(daemon, kind):
    """A line stays a line, and its quotes its own: however long and odd the values are."""
    serves(daemon, workers=1, max_head="4M", access_format=kind)
    hostile = [b"<script>alert('1')</script>", b'"quotes" \\ and "more\\', b"new\nline\r\n192.0.2.1 -",
               b"\x00\x01\x1b[2J\x7f", b"\xff\xfe\xc3\x28 \xe2\x82", "bär €😀".encode(), b"'; DROP",
               b"/" * 65536, b"\n" * 70000, b"\xf0\x9f\x98\x80" * 9000, b"%{pid} %s%n", b"}", b""]
    for value in hostile:
        fcgi.get(daemon.sock, REQUEST_URI=value, HTTP_USER_AGENT=value, HTTP_REFERER=value,
                 REMOTE_USER=value, SERVER_PROTOCOL="HTTP/1.1", REMOTE_ADDR="::1")
    for value, line in zip(hostile, lines(path_of(daemon), len(hostile))):
        assert len(line) < 20000 and line.isprintable()
        if kind == "json":
            seen = re.sub("\ufffd+", "\ufffd", value.partition(b"\0")[0].decode(errors="replace"))
            got = re.sub("\ufffd+", "\ufffd", json.loads(line)["user_agent"])
            assert got == seen or len(got) > 500 and seen.startswith(got)
        else:
            assert re.fullmatch(r'::1 - (.+) \[\S+ \+\d{4}\] "GET (.+) HTTP/1.1" 200 0 "(.*)" "(.*)"',
                                line) and line.isascii() and line.count('"') == 6


class Numbered:
    """A request function: each request has a number, on connections that are kept, and on others."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.numbers = itertools.count()
        self.asked = []
        self.local = threading.local()
        self.connections = []

    def __call__(self, rnd):
        number = next(self.numbers)
        if not hasattr(self.local, "kept"):
            self.local.kept = None
            if len(self.connections) < 3:
                self.local.kept = fcgi.Connection(self.daemon.sock)
                self.connections.append(self.local.kept)
        connection = self.local.kept or fcgi.Connection(self.daemon.sock)
        connection.request(keep=self.local.kept is not None, QUERY_STRING="n%d" % number,
                           SLEEP_MS=str(rnd.choice((0, 0, 1, 5))))
        self.asked.append("n%d" % number)
        if self.local.kept is None:
            connection.close()

    def close(self):
        for c in self.connections:
            c.close()


def test_usr1_under_load(daemon):
    """The file is moved away again and again: each line is in one file, once; none comes late."""
    serves(daemon, access_format="%{query}")
    request, sizes = Numbered(daemon), {}
    rounds = itertools.count(1)

    def rotate():
        old = "%s.%d" % (path_of(daemon), next(rounds))
        os.rename(path_of(daemon), old)
        daemon.send(signal.SIGUSR1)
        wait_for(lambda: os.path.exists(path_of(daemon)))
        wait_for(lambda: not any(holds(p, old) for p in daemon.workers()), 5)
        sizes[old] = os.path.getsize(old)

    with Load(6, request) as load:
        load.disturb(rotate, times=often(15, 1000))
    assert not load.lost, load.lost[:3]
    wait_for(lambda: daemon.busy() == 0)
    request.close()
    assert {p: os.path.getsize(p) for p in sizes} == sizes
    files = [lines(p) for p in glob.glob(path_of(daemon) + "*")]
    assert sum(len(f) > 0 for f in files) > len(files) / 2
    assert sorted(itertools.chain(*files)) == sorted(request.asked)


@pytest.mark.quick
def test_idle_workers_let_go_of_the_old_file(daemon):
    """A worker without requests would keep a file that was deleted, and its room on the disk."""
    serves(daemon, workers=3)
    assert fcgi.get(daemon.sock)
    for _ in range(20):
        os.rename(path_of(daemon), path_of(daemon) + ".1")
        daemon.send(signal.SIGUSR1)
        wait_for(lambda: all(holds(p, path_of(daemon)) for p in daemon.workers()) and
                 not any(holds(p, path_of(daemon) + ".1") for p in daemon.workers()))
        os.unlink(path_of(daemon) + ".1")


def test_reloads_upgrades_and_reopening_together(daemon):
    """Workers of every generation follow, also those that an earlier program has started."""
    daemon.own_binary()
    serves(daemon, workers="2..16", access_format="%{query}")  # room for the slow one
    request, rounds = Numbered(daemon), itertools.count(1)
    with fcgi.Connection(daemon.sock) as slow:
        slow.sock.sendall(fcgi.message(UNTIL=daemon.gate(), QUERY_STRING="slow"))
        wait_for(lambda: daemon.busy() == 1)

        def disturb():
            number = next(rounds)
            assert daemon.upgrade() == "ok"
            old = "%s.%d" % (path_of(daemon), number)
            os.rename(path_of(daemon), old)
            daemon.send(signal.SIGUSR1)
            wait_for(lambda: os.path.exists(path_of(daemon)))
            if number % 2 == 0:
                daemon.reload_well()

        with Load(4, request) as load:
            load.disturb(disturb, times=often(4, 60))
        assert not load.lost, load.lost[:3]
        wait_for(lambda: daemon.busy() <= 1)
        assert not any("slow" in lines(p) for p in glob.glob(path_of(daemon) + "*"))
        with open(daemon.dir + "/gate", "w", encoding="utf-8"):
            assert slow.answer()
        wait_for(lambda: "slow" in lines(path_of(daemon)))  # by one who was told again and again
    request.close()
    found = [line for p in glob.glob(path_of(daemon) + "*") for line in lines(p)]
    assert sorted(found) == sorted(request.asked + ["slow"])


@pytest.mark.root
def test_full_disk(daemon):
    """Requests are answered, the log says it once, and lines come back with the room."""
    place = daemon.dir + "/disk"
    os.mkdir(place)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"none", place.encode(), b"tmpfs", 0, b"size=64k") != 0:
        pytest.skip("cannot mount a tmpfs")
    try:
        path = place + "/access.log"
        serves(daemon, workers=3, access_log=path, access_format="%{query}|%{param:FILL}|end")
        fill = "x" * 700
        for n in range(200):
            assert fcgi.get(daemon.sock, timeout=2, QUERY_STRING="n%d" % n, FILL=fill)
        daemon.wait_log("the access log cannot be written, its lines are lost: No space left")
        wait_for(lambda: daemon.busy() == 0)  # an answer comes before its line
        full = open(path, encoding="utf-8").read()
        assert len(full) == 65536
        with open(path, "r+", encoding="utf-8") as f:
            f.truncate(len(full) - 100)  # room, and in the middle of a line
        for n in range(200, 206):
            assert fcgi.get(daemon.sock, QUERY_STRING="n%d" % n)
        lost = int(daemon.wait_log(r"is written again, (\d+) lines were lost").group(1))
        wait_for(lambda: daemon.busy() == 0)
        assert daemon.read_log().count("cannot be written") == 1
        after = [l for l in read(path).split("\n") if l]
        whole = [l for l in after if re.fullmatch(r"n\d+\|(x{700}|-)\|end", l)]
        assert len(after) - len(whole) == 1  # the one that was cut
        assert len(whole) + lost == 206 and set(whole) >= {"n%d|-|end" % n for n in range(200, 206)}
    finally:
        daemon.end()
        libc.umount2(place.encode(), 2)


@pytest.mark.root
def test_line_that_a_full_disk_has_cut(daemon):
    """The next one stands alone, also if another worker writes it."""
    place = daemon.dir + "/disk"
    os.mkdir(place)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"none", place.encode(), b"tmpfs", 0, b"size=64k") != 0:
        pytest.skip("cannot mount a tmpfs")
    try:
        path = place + "/access.log"
        with open(path, "w", encoding="utf-8") as f:
            f.write(("x" * 99 + "\n") * 650)  # 536 bytes are left
        serves(daemon, workers=1, access_log=path, access_format="%{query}|%{param:FILL}|end")
        assert fcgi.get(daemon.sock, QUERY_STRING="cut", FILL="y" * 1000)
        daemon.wait_log("the access log cannot be written")
        assert os.path.getsize(path) == 65536
        os.kill(daemon.workers()[0], signal.SIGKILL)
        os.truncate(path, 65100)
        for n in range(2):
            assert fcgi.get(daemon.sock, QUERY_STRING=str(n))
        wait_for(lambda: daemon.busy() == 0)
        assert read(path)[65000:] == "cut|" + "y" * 96 + "\n0|-|end\n1|-|end\n"
    finally:
        daemon.end()
        libc.umount2(place.encode(), 2)


def refuse_link(path):
    os.symlink("/etc/passwd", path)
    return "it is a symbolic link"


def refuse_pipe(path):
    os.mkfifo(path)
    return "it is not a regular file"


def refuse_directory(path):
    os.mkdir(path)
    return "Is a directory"


def refuse_second_name(path):
    with open(path, "w", encoding="utf-8"):
        os.link(path, path + ".other")
    return "it has more than one link"


REFUSED = [refuse_link, refuse_pipe, refuse_directory, refuse_second_name]


@pytest.mark.quick
@pytest.mark.parametrize("make", REFUSED)
def test_what_is_no_log_is_refused(daemon, make):
    """At the start, with -t, and when it stands there at USR1: then the old file stays in use."""
    why = make(path_of(daemon))
    daemon.write(daemon.pool(access_log=path_of(daemon)))
    for options in ((), ("-t",)):
        done = daemon.run("-c", daemon.conf, *options)
        assert done.returncode == 73 and why in done.stderr, done.stderr
        assert re.search(r"preforkd.conf:\d+: pool www: ", done.stderr)
    other = daemon.dir + "/other.log"
    serves(daemon, access_log=other, access_format="%{query}")
    os.rename(other, other + ".1")
    make(other)
    daemon.send(signal.SIGUSR1)
    daemon.wait_log("pool www: the access log stays in the old file: cannot open %s: " % other)
    assert fcgi.get(daemon.sock, QUERY_STRING="still")
    assert lines(other + ".1", 1) == ["still"]


@pytest.mark.root
@pytest.mark.quick
@pytest.mark.parametrize("mode, uid, trusted", [(0o755, 0, True), (0o777, 0, False),
                                                (0o755, 65534, False), (0o1777, 65534, False),
                                                (0o1777, 0, True)])
@pytest.mark.parametrize("key", ["access_log", "output", "log"])
def test_links_on_the_way(daemon, mode, uid, trusted, key):
    """A link that leads to the file's directory counts where only we could have put it."""
    real, odd = daemon.dir + "/real", daemon.dir + "/odd"
    os.mkdir(real)
    os.mkdir(odd)
    os.symlink("../real", odd + "/link")
    os.chown(odd, uid, 0)
    os.chmod(odd, mode)
    path = {key: odd + "/link/access.log"}
    if key == "log":
        daemon.write(daemon.pool(), **path)
    else:
        daemon.write(daemon.pool(**path))
    done = daemon.run("-c", daemon.conf, "-t")
    assert (done.returncode == 0) == trusted, done.stderr
    assert trusted or "a symbolic link on the way is where others could have put it" in done.stderr
    if trusted:
        daemon.start()
        assert fcgi.get(daemon.sock) and os.path.exists(real + "/access.log")
        if key == "access_log":
            lines(real + "/access.log", 1)
    else:
        assert daemon.run("-c", daemon.conf).returncode == 73
        assert os.listdir(real) == []


def has_message(s):
    try:
        return s.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b"\0"
    except OSError:
        return False


@pytest.mark.root
def test_worker_that_takes_the_descriptor_away(daemon):
    """It is meant for all: the next workers and the next USR1 find it again."""
    serves(daemon, workers=2, access_format="%{query}")
    for n in range(3):
        wait_for(lambda: len(daemon.workers()) == 2)  # those of before a reload have gone
        found = list(sockets(daemon.workers()[0]).values())
        end, = (s for s in found if s.type == socket.SOCK_SEQPACKET and has_message(s))
        if n < 2:
            assert end.recv(1) == b"\0"
        else:
            end.shutdown(socket.SHUT_RDWR)
        for s in found:
            s.close()
        os.kill(daemon.workers()[1], signal.SIGKILL)  # another one starts
        wait_for(lambda: len(daemon.workers()) == 2)
        daemon.send(signal.SIGUSR1)
        daemon.reload_well()
        assert fcgi.get(daemon.sock, QUERY_STRING="n%d" % n)
        assert lines(path_of(daemon), n + 1)[-1] == "n%d" % n


@pytest.mark.root
def test_worker_that_spoils_what_all_share(daemon):
    """Where a look at the socket begins, and that writing is appending: the next worker finds both
    as they should be."""
    serves(daemon, workers=1, access_format="%{query}")
    assert fcgi.get(daemon.sock, QUERY_STRING="first")
    lines(path_of(daemon), 1)
    worker = daemon.workers()[0]
    found = list(sockets(worker).values())
    end, = (s for s in found if s.type == socket.SOCK_SEQPACKET and has_message(s))
    end.setsockopt(socket.SOL_SOCKET, 42, 1)  # SO_PEEK_OFF
    for s in found:
        s.close()
    number, = (int(n) for n in os.listdir("/proc/%d/fd" % worker)
               if os.readlink("/proc/%d/fd/%s" % (worker, n)) == path_of(daemon))
    fd = duplicate(worker, number)
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) & ~os.O_APPEND)
    os.lseek(fd, 0, os.SEEK_SET)
    os.close(fd)
    os.kill(worker, signal.SIGKILL)
    assert fcgi.get(daemon.sock, QUERY_STRING="second")
    assert lines(path_of(daemon), 2) == ["first", "second"]


@pytest.mark.quick
def test_mistakes_in_the_configuration(daemon):
    """With file, line and what was meant."""
    for line, said in {
            "access-format = %{methd}": "unknown field %{methd}: did you mean %{method}?",
            "access-format = combind": 'unknown format "combind": did you mean "combined"?',
            "access-format = %h": '"%h" is no field: write %{NAME}, or %% for a percent sign',
            "access-log = x.log": '"x.log" is not an absolute path',
            "access-log = /nonexistent/x.log": "cannot open /nonexistent/x.log: No such file",
            "command = /bin/true\naccess-log = /x": "the requests of a command cannot be seen"}.items():
        kind = {} if "command" in line else {"app": "counter"}
        text = "[pool www]\nlisten = %s\n" % daemon.sock
        text += "".join("%s = %s\n" % item for item in kind.items()) + line + "\n"
        daemon.write(text)
        done = daemon.run("-c", daemon.conf, "-t")
        number = open(daemon.conf, encoding="utf-8").read().count("\n")
        assert done.returncode in (78, 73) and "preforkd.conf:%d: " % number in done.stderr, done.stderr
        assert said in done.stderr, done.stderr
    daemon.write(daemon.pool(access_log=path_of(daemon), access_format="'{\"a b\": \"%{uri}\"} ; x'"))
    shown = daemon.run("-c", daemon.conf, "-T").stdout
    assert "access-format = '{\"a b\": \"%{uri}\"} ; x'\n" in shown
    assert "access-log = %s\n" % path_of(daemon) in shown and not os.path.exists(path_of(daemon))


@pytest.mark.root
def test_local_time_behind_chroot(daemon):
    """Time zones are read before: the worker sees no zone files."""
    daemon.write(daemon.pool(app="counter", chroot=daemon.dir, access_log=path_of(daemon),
                             access_format="%{time_iso}", **{"env_TZ": "America/St_Johns"}))
    daemon.start()
    assert fcgi.number(daemon.sock) == 1
    assert re.search(r"T\d\d:\d\d:\d\d\.\d{3}-0[23]:30$", lines(path_of(daemon), 1)[0])


@pytest.mark.root
def test_worker_reads_nothing(daemon):
    """The file is the master's: workers have it for appending alone."""
    serves(daemon, workers=1)
    found = os.stat(path_of(daemon))
    assert (found.st_uid, found.st_mode & 0o777) == (0, 0o640)
    worker = daemon.workers()[0]
    number, = (int(n) for n in os.listdir("/proc/%d/fd" % worker)
               if os.readlink("/proc/%d/fd/%s" % (worker, n)) == path_of(daemon))
    fd = duplicate(worker, number)
    with pytest.raises(OSError):
        os.read(fd, 1)
    os.close(fd)
