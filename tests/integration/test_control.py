"""Commands over the control socket: each is answered when it has happened, or with the reason."""

import os
import shutil
import signal
import subprocess
import threading
import time

import pytest

import fcgi
from daemon import APPS, alive, free_port, make, read, title, wait_for
from gate import Gate
from load import Load, Numbers


@pytest.fixture
def gate(daemon):
    return Gate(daemon)


def write(daemon, *pools):
    daemon.write(*pools, control=daemon.dir + "/control.sock")


def begin(daemon, *pools):
    write(daemon, *pools)
    daemon.start()


@pytest.mark.quick
def test_reload(daemon, gate):
    """Done means: the new workers serve."""
    begin(daemon, daemon.pool(workers=2))
    before = daemon.workers()
    write(daemon, daemon.pool(workers=3))
    assert gate.done("/reload") == "reload 1 done: 3 workers in 1 pool"
    ready = [w for w in gate.pool()["list"] if w["state"] == "idle"]
    assert len(ready) == 3 and not set(before) & {w["pid"] for w in ready}
    assert gate.status()["reloads"]["last"]["result"] == "done"


@pytest.mark.parametrize("what,words", [
    ("line", "unknown key \"wokers\""), ("program", "cannot run /none/here"),
    ("death", "before it was ready")])
def test_reload_that_fails(daemon, gate, what, words):
    begin(daemon, daemon.pool())
    before = sorted(daemon.workers())
    write(daemon, {"line": daemon.pool(wokers=1), "program": daemon.pool(command="/none/here"),
                   "death": daemon.pool(listen="127.0.0.1:%d" % free_port(), command="/bin/false")}[what])
    code, ok, message = gate.post("/reload")
    assert code == 409 and not ok and words in message, message
    s = gate.status()
    assert s["reloads"]["failed"] == 1 and s["reloads"]["done"] == 0
    assert s["reloads"]["last"]["result"] == "failed" and words in s["reloads"]["last"]["reason"]
    wait_for(lambda: sorted(daemon.workers()) == before)


def test_reload_waits_for_the_slow(daemon, gate):
    """It is not answered before it is done; and another asked for meanwhile is another one."""
    flag = daemon.dir + "/flag"
    command = daemon.script("import os, time\nwhile not os.path.exists(%r): time.sleep(.01)\n"
                            "os.execv(%r, ['plain'])\n" % (flag, APPS + "/plain"))
    address = "127.0.0.1:%d" % free_port()
    begin(daemon, daemon.pool())
    write(daemon, daemon.pool(listen=address, command=command, workers=1))
    said = []

    def ask():
        said.append(gate.post("/reload"))
    first, second = threading.Thread(target=ask), threading.Thread(target=ask)
    first.start()
    wait_for(lambda: gate.status()["reloads"]["last"]["result"] == "running")
    second.start()
    daemon.wait_log("(?s)reload is asked for.*reload is asked for")
    assert not said
    make(flag)
    first.join()
    second.join()
    assert sorted(m for _, ok, m in said if ok) == [
        "reload %d done: %d workers in 1 pool" % x for x in ((1, 1), (2, 2))] or \
        [ok for _, ok, _ in said] == [True, True]
    assert gate.status()["reloads"]["done"] == 2


def test_reload_of_one_pool(daemon, gate):
    """The others keep their workers, and what is said of them waits for the next reload of all."""
    other = daemon.dir + "/other.sock"
    begin(daemon, daemon.pool(workers=2), daemon.pool("other", listen=other, workers=2),
          daemon.pool("gone", listen=daemon.dir + "/gone.sock"))
    before = {n: {w["pid"] for w in gate.pool(n)["list"]} for n in ("www", "other")}
    write(daemon, daemon.pool(workers=3), daemon.pool("other", listen=other, workers=5),
          daemon.pool("more", listen=daemon.dir + "/more.sock"))
    with Load(2, Numbers(other)) as load:
        assert gate.done("/pools/www/reload").startswith("reload 1 done")
    assert not load.lost
    www = gate.wait_pool(lambda p: p["workers"]["live"] == 3)
    assert not before["www"] & {w["pid"] for w in www["list"]}
    assert before["other"] == {w["pid"] for w in gate.pool("other")["list"]}
    assert [p["name"] for p in gate.status()["pools"]] == ["www", "other", "gone"]
    assert fcgi.number(daemon.dir + "/gone.sock") == 1
    gate.done("/upgrade")  # the two configurations are handed over
    gate.wait_pool(lambda p: p["workers"]["idle"] == 5, "other")
    gate.wait_pool(lambda p: p["workers"]["idle"] == 4, "more")
    write(daemon, daemon.pool("other", listen=other))
    code, _, message = gate.post("/pools/www/reload")
    assert code == 409 and message == "pool www is no longer in the configuration: reload all"
    assert gate.post("/pools/nope/reload")[0] == 404


def test_one_pool_does_not_take_the_address_of_another(daemon, gate):
    other = daemon.dir + "/other.sock"
    begin(daemon, daemon.pool(), daemon.pool("other", listen=other, listen_mode="0666"))
    write(daemon, daemon.pool(listen=other, listen_mode="0666"), daemon.pool("other", listen=daemon.sock))
    code, _, message = gate.post("/pools/www/reload")
    assert code == 409 and message == "%s belongs to pool other as yet: reload all" % other


@pytest.mark.parametrize("keys", [{"app": "counter"}, {"command": APPS + "/plain"}])
def test_scale(daemon, gate, keys):
    begin(daemon, daemon.pool(workers=2, **keys))
    with Load(2, lambda rnd: fcgi.get(daemon.sock)) as load:
        for n in 6, 1, 3:
            said = gate.done("/pools/www/scale?workers=%d" % n)
            assert said == "pool www has %d worker%s" % (n, "s" if n > 1 else "")
            assert len(daemon.workers()) == n
            pool = gate.pool()
            assert pool["workers"]["wanted"] == n == pool["workers"]["max"]
    assert not load.lost
    gate.done("/reload")
    assert gate.pool()["workers"]["wanted"] == 2


def test_scale_of_a_pool_that_follows_the_load(daemon, gate):
    """The number is its new upper limit; a limit below MIN lowers that."""
    begin(daemon, daemon.pool(module=APPS + "/module_echo", workers="2..4"))
    assert gate.done("/pools/www/scale?workers=6") == "pool www has 2 workers, and will have 6 at most"
    file = daemon.gate()
    clients = [threading.Thread(target=fcgi.get, args=(daemon.sock,), kwargs={"UNTIL": file})
               for _ in range(8)]
    for c in clients:
        c.start()
    assert gate.wait_pool(lambda p: p["workers"]["busy"] == 6)["workers"]["max"] == 6
    make(file)
    for c in clients:
        c.join()
    assert gate.done("/pools/www/scale?workers=1") == "pool www has 1 worker, and will have 1 at most"
    strength = gate.pool()["workers"]
    assert (strength["min"], strength["max"], strength["live"]) == (1, 1, 1)
    gate.done("/reload")
    strength = gate.pool()["workers"]
    assert (strength["min"], strength["max"]) == (2, 4)


def test_scale_that_fails(daemon, gate):
    flag = daemon.dir + "/flag"
    command = daemon.script("import os, sys\nif os.path.exists(%r): sys.exit(1)\n"
                            "os.execv(%r, ['plain'])\n" % (flag, APPS + "/plain"))
    one, two = ("127.0.0.1:%d" % free_port() for _ in range(2))
    begin(daemon, daemon.pool(command=command, workers=2, listen=one + " " + two))
    for query in "", "?workers=", "?workers=0", "?workers=-1", "?workers=10001", "?n=1", "?workers=1x":
        assert gate.post("/pools/www/scale" + query)[0] == 400
    code, _, message = gate.post("/pools/www/scale?workers=1")
    assert code == 400 and "cannot serve the 2 addresses" in message
    assert gate.post("/pools/nope/scale?workers=1")[0] == 404
    make(flag)
    code, _, message = gate.post("/pools/www/scale?workers=3")
    assert code == 409 and message.startswith("pool www: workers fail to start, 2 of 3 are ready")


@pytest.mark.parametrize("what", ["another number", "a reload"])
def test_scale_is_overtaken(daemon, gate, what):
    """By a reload, or by another number: it is not left waiting."""
    begin(daemon, daemon.pool(module=APPS + "/module_echo", workers=2))
    file = daemon.gate()
    clients = [threading.Thread(target=fcgi.get, args=(daemon.sock,), kwargs={"UNTIL": file})
               for _ in range(2)]
    for c in clients:
        c.start()
    gate.wait_pool(lambda p: p["workers"]["busy"] == 2)
    said = []
    waiter = threading.Thread(target=lambda: said.append(gate.post("/pools/www/scale?workers=1")))
    waiter.start()
    gate.wait_pool(lambda p: p["workers"]["wanted"] == 1)
    path = "/reload" if what == "a reload" else "/pools/www/scale?workers=2"
    clients.append(threading.Thread(target=gate.done, args=(path,)))
    clients[-1].start()
    waiter.join()
    assert said[0][0] == 409 and what in said[0][2] and "meanwhile" in said[0][2]
    make(file)
    for c in clients:
        c.join()


def test_drain(daemon, gate):
    """The balancer hears of it while requests are served, over reloads and upgrades, until undrain."""
    begin(daemon, daemon.pool(workers=2), daemon.pool("other", listen=daemon.dir + "/other.sock"))
    gate.done("/pools/www/drain")

    def drains():
        answer, pool = gate.get("/healthz"), gate.pool()
        return answer.code == 503 and answer.text() == "pool www: draining\n" and \
            pool["draining"] and pool["state"] == "draining" and fcgi.number(daemon.sock) > 0
    assert drains()
    gate.done("/reload")
    assert drains()
    gate.done("/upgrade")
    assert drains()
    assert gate.metrics()['preforkd_pool_draining{pool="www"}'] == 1
    gate.done("/pools/www/undrain")
    assert gate.get("/healthz").code == 200 and not gate.pool()["draining"]
    assert gate.post("/pools/nope/drain")[0] == 404


def test_reopen(daemon, gate):
    begin(daemon, daemon.pool())
    os.rename(daemon.log, daemon.log + ".1")
    assert gate.done("/reopen") == "logs reopened"
    assert "logs reopened" in read(daemon.log)
    os.rename(daemon.log, daemon.log + ".2")
    os.symlink("/dev/null", daemon.log)
    code, _, message = gate.post("/reopen")
    assert code == 409 and "it is a symbolic link" in message
    os.unlink(daemon.log)


@pytest.mark.parametrize("key, what", [("access-log", "the access log"), ("output", "output")])
def test_reopen_of_all_or_failed(daemon, gate, key, what):
    """It is done when every file is another one: log rotation deletes the old ones then."""
    path = daemon.dir + "/other.log"
    begin(daemon, daemon.pool(**{key: path}), daemon.pool("last", listen=daemon.dir + "/2.sock"))
    assert gate.done("/reopen") == "logs reopened"
    os.rename(path, path + ".1")
    os.symlink("/dev/null", path)
    code, _, message = gate.post("/reopen")
    assert code == 409 and "pool www: %s stays in the old file" % what in message, message
    os.unlink(path)
    assert gate.done("/reopen") == "logs reopened" and os.path.exists(path)


@pytest.mark.quick
def test_stop(daemon, gate):
    """It is answered before the gate goes, and requests in hand are finished."""
    begin(daemon, daemon.pool(module=APPS + "/module_echo", workers=1))
    file, got = daemon.gate(), []
    client = threading.Thread(target=lambda: got.append(fcgi.get(daemon.sock, b"abc", UNTIL=file)))
    client.start()
    gate.wait_pool(lambda p: p["workers"]["busy"] == 1)
    assert gate.done("/stop") == "stopping"
    s = gate.status()
    assert s["state"] == "stopping" and s["pools"][0]["state"] == "stopping"
    assert s["pools"][0]["list"][0]["state"] == "retiring"
    assert gate.get("/healthz").text() == "preforkd: stopping\npool www: stopping\n"
    code, _, message = gate.post("/reload")
    assert code == 409 and message == "preforkd is stopping"
    make(file)
    client.join()
    assert fcgi.body_of(got[0]) == b"abc"
    wait_for(lambda: not daemon.running(), 5)


def test_stop_ends_who_waits(daemon, gate):
    """A command that waits is told that it will not happen."""
    begin(daemon, daemon.pool())
    command = daemon.script("import time\ntime.sleep(60)\n")
    write(daemon, daemon.pool(command=command, listen="127.0.0.1:%d" % free_port(), stop_timeout="1s"))
    said = []
    waiter = threading.Thread(target=lambda: said.append(gate.post("/reload")))
    waiter.start()
    wait_for(lambda: gate.status()["reloads"]["last"]["result"] == "running")
    gate.done("/stop")
    waiter.join()
    assert said == [(409, False, "preforkd stops")]
    wait_for(lambda: not daemon.running(), 10)


def test_upgrade(daemon, gate):
    """The next image answers; a new gate serves on the same sockets, and the old one goes."""
    daemon.own_binary()
    port = free_port()
    daemon.write(daemon.pool(workers=2), control=daemon.dir + "/control.sock", http="127.0.0.1:%d" % port)
    daemon.start()
    gates, refused = {gate.status()["gate"]["pid"]}, []
    stop = threading.Event()

    def scrape():
        while not stop.is_set():
            try:
                code = Gate(daemon, port).get("/metrics").code
                if code != 200:
                    refused.append(code)
            except OSError as e:
                refused.append(e)
    scraper = threading.Thread(target=scrape)
    scraper.start()
    with Load(2, Numbers(daemon.sock)) as load:
        for n in range(1, 4):
            assert gate.done("/upgrade") == "upgrade %d done: 2 workers in 1 pool" % n
            new = wait_for(lambda: gate.status()["gate"]["pid"] not in gates and
                           gate.status()["gate"]["pid"])
            gates.add(new)
            wait_for(lambda: not any(alive(p) for p in gates - {new}), 10)
    stop.set()
    scraper.join()
    assert not load.lost and not refused
    load.request.check()
    wait_for(lambda: gate.status()["upgrades"]["done"] == 3)
    s = gate.status()
    assert s["reloads"]["done"] == 0 and s["gate"]["restarts"] == 0
    assert any("upgrade 1 begins" in e["text"] for e in s["events"])  # what was before is not forgotten


def test_upgrade_that_is_refused(daemon, gate):
    daemon.own_binary()
    begin(daemon, daemon.pool())
    pid = gate.status()["gate"]["pid"]
    os.unlink(daemon.binary)
    shutil.copy("/bin/false", daemon.binary)
    code, _, message = gate.post("/upgrade")
    assert code == 409 and "exited with code 1" in message, message
    s = gate.status()
    assert s["upgrades"]["failed"] == 1 and s["upgrades"]["last"]["result"] == "failed"
    assert s["gate"] == {"pid": pid, "restarts": 0}


def test_upgrade_whose_reload_fails(daemon, gate):
    """Asked, the new program sees the mistake: nothing happens."""
    begin(daemon, daemon.pool())
    write(daemon, daemon.pool(wokers=1))
    code, _, message = gate.post("/upgrade")
    assert code == 409 and "wokers" in message, message


def test_commands_of_many(daemon, gate):
    """Each gets an answer; those that are too many are told so."""
    begin(daemon, daemon.pool())
    said = []
    clients = [threading.Thread(target=lambda: said.append(gate.post("/reload"))) for _ in range(40)]
    for c in clients:
        c.start()
    for c in clients:
        c.join()
    assert len(said) == 40 and {code for code, _, _ in said} <= {200, 503}
    assert sum(ok for _, ok, _ in said) >= 30
    assert gate.status()["reloads"]["done"] <= 12  # those that came together are one


def test_curl(daemon, gate):
    """As the manual says it."""
    begin(daemon, daemon.pool())
    done = subprocess.run(["curl", "-sS", "--fail-with-body", "-X", "POST", "--unix-socket", gate.path,
                           "http://localhost/pools/www/reload"], capture_output=True, text=True, timeout=30,
                          check=True)
    assert done.stdout == '{"ok":true,"message":"reload 1 done: 4 workers in 1 pool"}'
