"""What preforkctl makes of its arguments, and of whatever a gate answers: a mad, slow or silent one."""

import json
import os
import re
import socket
import subprocess
import sys
import time

import pytest

from ctl import CTL, Ctl
from daemon import TOP
from fakegate import latency, pool, says_status, worker
from terminal import Terminal

NASTY = "a\x1b[31mb\x1b]0;title\x07c\x9b2Jd\u202ee\r\nf\x08g\x7f"


# What it is asked


@pytest.mark.quick
@pytest.mark.parametrize("words", [
    [], ["dance"], ["status", "x"], ["scale", "www"], ["scale"], ["scale", "www", "many"],
    ["scale", "www", "10001"], ["scale", "www", "3", "4"], ["drain"], ["undrain"], ["reload", "a", "b"],
    ["stop", "now"], ["-t", "soon", "ping"], ["-t", "100d", "ping"], ["-x", "ping"], ["top", "--json"],
    ["reload", "-v"], ["ping", "--jso=1"],
])
def test_usage(fake, words):
    fake.ctl.do(*words, code=64, says="preforkctl")
    assert fake.asked == []


@pytest.mark.quick
@pytest.mark.parametrize("words, asked", [
    ("reload", "POST /reload"),
    ("reload www", "POST /pools/www/reload"),
    ("reload ../x?y", "POST /pools/..%2Fx%3Fy/reload"),
    ("reopen", "POST /reopen"),
    ("upgrade", "POST /upgrade"),
    ("scale www 7", "POST /pools/www/scale?workers=7"),
    ("drain www", "POST /pools/www/drain"),
    ("undrain www", "POST /pools/www/undrain"),
])
def test_commands(fake, words, asked):
    """What each asks of the gate; options may stand at the end; the answer is the gate's."""
    assert fake.ctl.do(*words.split()) == "done\n"
    assert json.loads(fake.ctl.do(*words.split(), "--json")) == {"ok": True, "message": "done"}
    assert fake.asked == [asked, asked]


# What became of it


@pytest.mark.quick
@pytest.mark.parametrize("answer, code, says", [
    ((200, {"ok": False, "message": "no luck"}), 1, "no luck"),
    ((409, {"ok": False, "message": "reload 3 failed"}), 1, "preforkctl: reload: reload 3 failed\n"),
    ((409, {"ok": True, "message": "it says one thing and another"}), 1, "it says"),
    ((404, {"ok": False, "message": "no such pool"}), 1, "no such pool"),
    ((403, {"ok": False, "message": "only root"}), 77, "only root"),
    ((403, b"<html>"), 77, "not permitted"),
    ((429, {"ok": False, "message": "too many"}), 75, "too many"),
    ((503, {"ok": False, "message": "the master is silent"}), 75, "silent"),
    ((500, b"<html>"), 1, "HTTP status 500"),
    ((200, b""), 1, "HTTP status 200"),
    ((200, b"[1]"), 1, "no reason"),
    ((302, {"ok": True, "message": "elsewhere"}), 1, "elsewhere"),
    ((None, b""), 1, "closed before the answer"),
    ((409, {"ok": False, "message": NASTY}), 1, "a?[31mb?]0;title?c"),
])
def test_failures(fake, answer, code, says):
    """Each has its exit code, its reason on stderr, and its JSON; a command is sent only once."""
    fake.otherwise = answer
    fake.ctl.do("reload", code=code, says=says)
    assert fake.asked == ["POST /reload"]
    done = fake.ctl.run("reload", "--json")
    assert done.returncode == code and says.strip() in done.stderr
    told = json.loads(done.stdout)
    assert told["ok"] is False and told["message"] in done.stderr


@pytest.mark.quick
def test_nobody_there(place):
    ctl = Ctl(place)
    for verb in ("status", "ping", "reload", "stop"):
        ctl.do(verb, code=69, says="not running: there is no " + place)
    told = json.loads(ctl.run("--json", "status").stdout)
    assert told == {"ok": False, "message": "preforkd is not running: there is no " + place}
    with socket.socket(socket.AF_UNIX) as s:  # what a crash leaves
        s.bind(place)
        ctl.do("status", code=69, says="nobody listens at")
    Ctl("/" + 200 * "x").do("status", code=64, says="too long")
    Ctl(TOP).do("status", code=69, says="not running")


@pytest.mark.root
def test_not_permitted(fake):
    os.chmod(fake.path, 0o600)
    os.chmod(os.path.dirname(fake.path), 0o755)
    fake.ctl.do("status", code=77, says="not permitted to connect", user=65534, group=65534,
                extra_groups=[])


@pytest.mark.quick
def test_time_limit(fake):
    """Of what only looks, and of a command; and of a gate that takes no connection."""
    fake.otherwise = lambda: (time.sleep(1), (200, {"ok": True, "message": "late"}))[1]
    fake.ctl.do("reload", "-t", "100ms", code=75, says="no answer within 0.1 s")
    assert fake.ctl.do("reload") == "late\n"
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(fake.path + ".deaf")
        deaf.listen(1)
        Ctl(fake.path + ".deaf").do("ping", "-t", "100ms", code=75, says="no answer")
    os.unlink(fake.path + ".deaf")


LOSES_THE_FIRST = """import socket, sys
with socket.socket(socket.AF_UNIX) as s:
    s.bind(sys.argv[1])
    s.listen()
    print(flush=True)
    asked = 0
    while asked < 2:
        client, _ = s.accept()
        with client:
            if client.recv(4096).startswith(b"POST /stop "):
                asked += 1
                body = b'{"ok": true, "message": "stopping"}'
                if asked == 2:
                    client.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n%s" %
                                   (len(body), body))
"""


def test_stop_that_was_lost(place):
    """A gate that dies may not have passed it on: it is asked once more, which does no harm."""
    with subprocess.Popen([sys.executable, "-c", LOSES_THE_FIRST, place],
                          stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout.readline() == b"\n"
            assert Ctl(place).do("stop", timeout=10) == "stopped\n"
        finally:
            server.kill()


def test_environment_is_not_asked_for_proxies(fake):
    proxies = {k: "http://127.0.0.1:9/" for k in ("http_proxy", "HTTP_PROXY", "ALL_PROXY")}
    fake.ctl.do("ping", env=proxies)


def test_answer_without_end(fake):
    """An answer of more than 64 MB is not taken, and not kept in memory."""
    fake.answers["GET /status"] = (200, b"[" + 70 * b"x" * (1 << 20))
    fake.ctl.do("status", code=1, says="larger than 64 MB")


def test_stdout_that_is_full(fake):
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run([CTL, "-s", fake.path, "ping"], stdout=full, stderr=subprocess.PIPE,
                              text=True, timeout=20, check=False)
    assert (done.returncode, done.stderr) == (1, "preforkctl: cannot write to stdout\n")


# Status


@pytest.mark.quick
def test_status_table(fake):
    busy = worker(2, state="busy", request={"method": "GET", "path": "/slow", "seconds": 75.2})
    says_status(fake, pool("www", [worker(1), busy, worker(3, state="retiring")]),
                pool("a-pool-with-a-long-name", 2, requests=None))
    out = fake.ctl.do("status")
    assert re.search(r"^preforkd 0\.1\.0, pid \d+, serving, started 16m40s ago$", out, re.M)
    head, www, other = re.findall(r"^(?:POOL|www|a-pool).*$", out, re.M)
    assert head.split() == ["POOL", "STATE", "IDLE", "BUSY", "STARTING", "RETIRING", "QUEUE",
                            "REQUESTS", "BACK-OFF"]
    assert www.split() == ["www", "serving", "1", "1", "0", "1", "0/4096", "1234", "-"]
    assert other.split() == ["a-pool-with-a-long-name", "serving", "2", "0", "0", "0", "0/4096",
                             "-", "-"]
    for title, figure in (("IDLE", "1"), ("REQUESTS", "1234")):  # aligned to the right
        assert head.index(title) + len(title) == www.index(" " + figure + " ") + len(figure) + 1
    out = fake.ctl.do("status", "-v")
    row = re.search(r"^ +2 +4002 .*$", out, re.M).group(0).split()
    assert row[2:4] == ["1", "busy"] and row[-3:] == ["1m15s", "GET", "/slow"]
    assert "listens on 127.0.0.1:9000: 0 of 4096 wait, 3 at most so far" in out


@pytest.mark.quick
def test_status_of_time_and_bytes(fake):
    """Of programs, which do not tell, no word of it, and dashes."""
    says_status(fake, pool(latency=latency(50, 44, 6), bytes_in=2048, bytes_out=5 << 20),
                pool("php", [worker(1, requests=None, last_seconds=None, total_seconds=None,
                                    bytes_in=None, bytes_out=None)], kind="command", requests=None,
                     bytes_in=None, bytes_out=None, latency=None))
    www, php = fake.ctl.do("status", "-v").split("\npool php: ")
    assert "\n1234 requests, 2.0K received, 5.0M sent; half of them within 1.0ms, 95% within >10ms, " \
        "4.0ms on average\n" in www
    assert "within" not in php and "received" not in php
    titles = re.search(r"^ *SLOT.*", www, re.M).group(0).split()
    for text, figures in ((www, ["0", "0.50s", "3.0M", "100", "2.0K", "1.50s", "10ms"]),
                          (php, ["0", "0.50s", "3.0M", "-", "-", "-", "-"])):
        row = re.search(r"^ +1 +4001 .*$", text, re.M).group(0).split()
        assert row[titles.index("CONN"):titles.index("TIME")] == figures


@pytest.mark.quick
@pytest.mark.parametrize("kind, way, said", [
    ("command", "trace", None), ("app", "signal", None), ("command", "signal", "can cut a request"),
    ("command", "stop", "can take until stop-timeout"), ("command", NASTY, None)])
def test_status_says_how_programs_are_retired(fake, kind, way, said):
    """Where there are programs, and it is not the best way; which is no reason for exit code 150."""
    says_status(fake, pool("www"), pool("other", kind=kind), retirement=way)
    out = fake.ctl.do("status")
    assert said in out if said else "programs" not in out


@pytest.mark.quick
def test_status_says_what_is_wrong(fake):
    """Exit 150: a pool is not healthy, or the daemon is not serving yet or any more."""
    says_status(fake, pool("www"), pool(
        "php", 1, state="backoff", healthy=False, reason="worker 7 exited with code 1",
        backoff={"active": True, "delay": 3.2, "ends_in": 0.4}))
    out = fake.ctl.do("status", code=150)
    assert "3.20s, next in 0.40s" in out
    assert "pool php is not healthy: worker 7 exited with code 1" in out
    assert json.loads(fake.ctl.do("--json", "status", code=150))["pools"][1]["healthy"] is False
    fake.ctl.do("ping")
    says_status(fake, state="stopping")
    fake.ctl.do("status", code=150, says="stopping")
    failed = {"done": 2, "failed": 1, "last": {"result": "failed", "at": 1e9, "reason": "line 9"}}
    says_status(fake, reloads=failed)
    out = fake.ctl.do("status")
    assert "2 reloads, 1 failed, the last at 2001-09-0" in out
    assert "the last reload failed: line 9" in out


@pytest.mark.quick
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"pools": 3}', b"<html>", b"\xff\xfe",
                                  b"[" * 100000])
def test_status_that_is_none(fake, body):
    fake.answers["GET /status"] = (200, body)
    for verb in (["status"], ["status", "--json"], ["ping"]):
        fake.ctl.do(*verb, code=1, says="not the status of preforkd")


@pytest.mark.quick
def test_terminal_is_safe(fake):
    """No byte of others gets to the terminal as it is."""
    request = {"method": NASTY, "path": NASTY, "seconds": 1}
    nasty = pool(NASTY, [worker(1, state=NASTY, request=request)], state=NASTY, reason=NASTY,
                 program=NASTY, healthy=False,
                 listeners=[{"address": NASTY, "queue": 1, "queue_limit": 2, "queue_high": 2}])
    last = {"result": "failed", "at": 1, "reason": NASTY}
    says_status(fake, nasty, version=NASTY, state=NASTY,
                reloads={"done": 0, "failed": 0, "last": last})
    for words in (["status"], ["status", "-v"], ["status", "--json"]):
        out = fake.ctl.do(*words, code=150)
        assert re.fullmatch(r"[ -~\n]*", out), out
    with Terminal([CTL, "-s", fake.path, "status", "-v"]) as terminal:
        assert terminal.end() == 150
    left = re.sub(rb"\x1b\[[0-9;]*m", b"", terminal.raw)
    assert re.fullmatch(rb"[ -~\r\n]*", left), left


@pytest.mark.quick
def test_colours(fake):
    """On a terminal that can, without NO_COLOR, and nowhere else."""
    assert "\033" not in fake.ctl.do("status")
    for env, coloured in (({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True),
                          ({"TERM": "dumb"}, False)):
        with Terminal([CTL, "-s", fake.path, "status"], env=env) as terminal:
            assert terminal.end() == 0
        assert (b"\033[32mserving" in terminal.raw) == coloured, env


def test_ten_thousand_workers(fake):
    says_status(fake, pool("www", 10000))
    begin = time.monotonic()
    assert fake.ctl.do("status", "-v").count(" idle ") == 10000
    assert time.monotonic() - begin < 10


# Completion


COMPLETE = """
shopt -s extglob
. %s/conf/preforkctl.bash-completion
COMP_WORDS=(%%s) COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_preforkctl %s
printf '%%%%s\\n' "${COMPREPLY[@]}"
""" % (TOP, CTL)


@pytest.mark.quick
@pytest.mark.parametrize("words, wanted", [
    ("preforkctl re", "reload reopen"),
    ("preforkctl ''", "status top ping reload reopen scale stop upgrade drain undrain"),
    ("preforkctl --j", "--json"),
    ("preforkctl status -", "-s -t --json -v"),
    ("preforkctl -s SOCKET drain ''", "www php-8.2"),
    ("preforkctl -s SOCKET -t 3 scale ph", "php-8.2"),
    ("preforkctl -s SOCKET scale www ''", ""),
    ("preforkctl -s SOCKET stop ''", ""),
    ("preforkctl -s /nonexistent reload ''", ""),
    ("preforkctl -t ''", ""),
])
def test_completion(fake, words, wanted):
    says_status(fake, pool("www", program='x", "name": "evil'), pool("php-8.2"))
    words = words.replace("SOCKET", fake.path).replace("''", '""')
    done = subprocess.run(["bash", "-c", COMPLETE % words], capture_output=True, text=True,
                          timeout=20, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == wanted.split()
