"""The status page, as a browser shows it."""

import os
import re
import threading
import urllib.request

import pytest
from selenium.webdriver.common.keys import Keys

import fcgi
from browser import Browser
from daemon import APPS, BINARY, TOP, free_port, make, wait_for


@pytest.fixture(scope="module")
def chromium():
    browser = Browser()
    yield browser
    browser.close()


@pytest.fixture
def site(daemon):
    """A daemon whose page can be opened: write() and start() it."""
    address = "127.0.0.1:%d" % free_port()
    daemon.url = "http://%s/" % address
    write = daemon.write
    daemon.write = lambda *pools, **keys: write(*pools, http=address, **keys)
    return daemon


@pytest.fixture
def page(site, chromium):
    """The browser; a test that ends well has left nothing in the console."""
    chromium.screen(1280, 1000)
    yield chromium
    assert chromium.console() == []


class Slow:
    """A request that lasts as long as the with block."""

    def __init__(self, daemon, **params):
        self.gate = daemon.gate()
        self.thread = threading.Thread(target=fcgi.get, args=(daemon.sock,),
                                       kwargs={"UNTIL": self.gate, **params})

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *_):
        make(self.gate)
        self.thread.join()
        os.unlink(self.gate)


@pytest.mark.quick
def test_loads_and_updates(site, page):
    site.write(site.pool(workers=3), site.pool("other", listen=site.dir + "/other.sock", workers=2))
    site.start()
    page.open(site.url)
    page.wait("#state", "serving")
    page.wait("#about", "pid %d" % site.pid)
    assert page.count("article") == 2 and page.count(".cells .cell.idle") == 5
    assert "app counter" in page.text("article")
    assert "serving with 5 workers in 2 pools" in page.text("#events")
    for _ in range(7):
        fcgi.get(site.sock)
    page.wait("#tiles", "7 so far")
    page.wait("article", "7 requests")
    assert re.search("50 % within .* 95 % within .* B received, .* B sent", page.text("article"))
    cell = "[...document.querySelectorAll('.cells .cell')]"
    page.run(cell + ".find((_, i) => before.status.pools[0].list[i].requests > 0).click()")
    page.wait(".one", "altogether")
    assert re.search("in .* altogether, the last took .* received, .* sent, 0 connections",
                     page.text(".one"))
    assert page.run("return document.querySelector('.plot .line').getAttribute('d')").startswith("M")
    assert "requests per second: " in page.run(
        "return document.querySelector('.plot svg').getAttribute('aria-label')")


@pytest.mark.quick
def test_shows_a_busy_worker(site, page):
    """With its request, whose path is text and nothing else, whatever it says."""
    site.write(site.pool(module=APPS + "/module_echo", workers=2))
    site.start()
    page.open(site.url)
    page.wait(".key", "2 idle")
    nasty = "/<img src=x onerror=document.title='bad'><script>document.title='bad'</script>"
    with Slow(site, SCRIPT_NAME=nasty):
        page.wait(".key", "1 busy")
        page.wait("#slowrows", "GET /<img src=x onerror=")
        assert page.count(".cells .cell.busy") == 1 and page.count("td img, td script") == 0
        page.run("document.querySelector('.cells .busy').click()")
        page.wait(".one", "<script>document.title='bad'</script> for ")
        assert page.run("return document.title") == "preforkd"
        label = page.run("return document.querySelector('.cells .busy').getAttribute('aria-label')")
        assert re.fullmatch(r"worker \d, busy", label)
    page.wait(".key", "2 idle")
    page.wait("#noslow", "None")
    assert page.count("#slowrows tr") == 0


def test_shows_a_back_off(site, page):
    """In words and a sign, beside the colour; and its end."""
    flag = site.dir + "/flag"
    make(flag)
    site.write(site.pool(command="/bin/sh -c 'test -e %s && exec %s/plain'" % (flag, APPS), workers=2))
    site.start()
    page.open(site.url)
    page.wait("article .state", "serving")
    os.unlink(flag)
    for pid in site.workers():
        os.kill(pid, 9)
    page.wait("article .state", "back-off")
    page.wait(".why", "next try in ")
    page.wait("#state", "not healthy")
    assert page.run("return getComputedStyle(document.querySelector('article .state'), '::before')"
                    ".content").strip('"').startswith("\u25b2")
    assert "exited with code 1" in page.text("#events")
    make(flag)
    page.wait("article .state", "serving")
    page.wait("#state", "serving")
    assert page.text(".why") == ""


@pytest.mark.root
def test_says_how_programs_are_retired(site, page):
    """Where that can cut a request: a daemon that may not look into programs, once it has one."""
    site.binary = site.dir + "/weak"
    with open(site.binary, "w", encoding="utf-8") as f:
        f.write("#!/bin/sh\nexec setpriv --bounding-set -sys_ptrace --inh-caps -sys_ptrace %s \"$@\"\n"
                % BINARY)
    os.chmod(site.binary, 0o755)
    site.write(site.pool(workers=1))
    site.start()
    page.open(site.url)
    page.wait("#state", "serving")
    assert page.text("#retirement") == ""
    site.write(site.pool(workers=1), site.pool("php", listen=site.dir + "/php.sock",
                                               command=APPS + "/plain", workers=1))
    assert site.reload() == "ok"
    page.wait("#retirement", "which can cut a request")
    said = [page.run("return retirementOf({ retirement: arguments[0], pools: [{ kind: 'command' }] })",
                     way) for way in ("trace", "stop", "?")]
    assert said[0] == said[2] == "" and "until stop-timeout" in said[1]


def test_survives_a_reload(site, page):
    site.write(site.pool(workers=2))
    site.start()
    page.open(site.url)
    page.wait("article", "generation 1")
    site.write(site.pool(workers=3), site.pool("new", listen=site.dir + "/new.sock", workers=1))
    assert site.reload() == "ok"
    page.wait("article", "generation 2")
    wait_for(lambda: page.count("article") == 2 and page.count(".cells .idle") == 4)
    site.write(site.pool(workers="many"))
    assert site.reload().startswith("failed")
    page.wait("#failed", 'workers: "many"')
    site.write(site.pool(workers=1))
    assert site.reload() == "ok"
    wait_for(lambda: page.count("article") == 1 and page.text("#failed") == "")
    page.wait("#tiles", "1 failed")


def test_waits_for_a_daemon_that_is_away(site, page):
    site.write(site.pool(workers=1))
    site.start()
    page.open(site.url)
    page.wait("#state", "serving")
    site.end()
    page.wait("#away", "No answer since ")
    page.wait("#away", "Next try in 4 s")
    assert "not reachable" in page.text("#state")
    assert page.run("return document.body.className") == "stale"
    site.start()
    page.run("document.getElementById('again').click()")
    page.wait("#state", "serving")
    page.wait("#about", "pid %d" % site.pid)
    assert page.text("#away") == "" and page.run("return delay") == 1000
    lines = page.console()  # of a browser that was refused, and of nothing else
    assert lines and all("ERR_CONNECTION_REFUSED" in line for line in lines), lines


@pytest.mark.quick
def test_policy(site, page):
    """What is not of the page does not run, and each answer has its own nonce."""
    site.write(site.pool(workers=1))
    site.start()
    nonces = set()
    for _ in range(2):
        with urllib.request.urlopen(site.url, timeout=10) as answer:
            policy, kind = (answer.headers[name] for name in
                            ("Content-Security-Policy", "Content-Type"))
            text = answer.read().decode()
        assert kind == "text/html; charset=utf-8"
        nonce = re.search(r"script-src 'nonce-(\w{32})'", policy).group(1)
        assert text.count('nonce="%s"' % nonce) == 2
        assert not re.search("@[A-Z]+@|unsafe|innerHTML", text + policy)
        assert set(re.findall(r"https?://[\w./]+", text)) == {"http://www.w3.org/2000/svg"}
        for rule in ("default-src 'none'", "connect-src 'self'", "base-uri 'none'",
                     "form-action 'none'", "frame-ancestors 'none'", "style-src 'nonce-" + nonce):
            assert rule in policy
        nonces.add(nonce)
    assert len(nonces) == 2
    page.open(site.url)
    page.wait("#state", "serving")
    page.run("""
        const s = document.createElement('script');
        s.textContent = 'window.ran = 1';
        document.body.append(s);
        document.body.setAttribute('onclick', 'window.ran = 2');
        document.body.click();
        const i = document.createElement('img');
        i.src = '/status';
        document.body.append(i);
    """)
    wait_for(lambda: page.run("return document.querySelector('img').complete"))
    assert page.run("return window.ran") is None
    lines = page.console()
    assert len(lines) == 3 and all("Content Security Policy" in line for line in lines), lines


@pytest.mark.quick
def test_keyboard_and_phone(site, page):
    """Arrows go from worker to worker; nothing is wider than a phone; light and dark differ."""
    site.write(site.pool(workers=30))
    site.start()
    page.open(site.url)
    page.wait(".key", "30 idle")
    page.keys(".cells", Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    page.wait(".one", "worker 2, pid ")
    page.keys(".cells", Keys.END)
    page.wait(".one", "worker 30, pid ")
    chosen = page.run("return document.querySelector('.cells').getAttribute('aria-activedescendant')")
    assert page.run("return document.getElementById(arguments[0]).ariaSelected", chosen) == "true"
    page.keys(".cells", Keys.ESCAPE)
    page.wait(".one", "Choose a worker")
    page.screen(360, 740, phone=True)
    assert page.run("return document.documentElement.scrollWidth") <= 360
    colours = []
    for dark in (False, True):
        page.screen(360, 740, phone=True, dark=dark)
        colours.append(page.run("return getComputedStyle(document.body).backgroundColor"))
    assert colours[0] != colours[1]


def test_a_thousand_workers(site, page):
    """A refresh of all of them costs the browser less than a tenth of a second."""
    site.write(site.pool(workers=1000))
    site.start()
    page.open(site.url)
    page.wait(".key", "1000 idle")
    assert page.count(".cells .cell") == 1000
    page.run("""
        window.times = [];
        const real = show;
        show = (...args) => {
            const begin = performance.now();
            real(...args);
            document.body.offsetHeight;
            window.times.push(performance.now() - begin);
        };
    """)
    wait_for(lambda: page.run("return window.times.length") >= 3)
    assert sorted(page.run("return window.times"))[1] < 100


def test_numbers(site, page):
    """How figures look, and what a histogram says; unknown ones are a dash."""
    site.write(site.pool(workers=1))
    site.start()
    page.open(site.url)
    for call, text in (
            ("number(null)", "\u2013"), ("number(0.25)", "0.3"),
            ("number(1234567)", "1\u202f234\u202f567"),
            ("seconds(0.5)", "0.50 s"), ("seconds(0.00005)", "50 \u00b5s"),
            ("seconds(0.0025)", "2.5 ms"), ("seconds(0)", "0.00 s"), ("seconds(61)", "1 min 1 s"), ("seconds(7260)", "2 h 1 min"),
            ("seconds(90000)", "1 d 1 h"), ("seconds(null)", "\u2013"), ("bytes(999)", "999 B"),
            ("bytes(1024)", "1.0 KiB"), ("bytes(1 << 30)", "1.0 GiB"),
            ("within(latency, 50)", "50 % within 10 ms"),
            ("within(latency, 95)", "95 % within 0.10 s"),
            ("within(latency, 100)", "100 % in longer than 0.10 s")):
        assert page.run("""
            const latency = { count: 100, sum: 3, buckets: [{ le: 0.001, count: 10 },
                { le: 0.01, count: 50 }, { le: 0.1, count: 99 }, { le: null, count: 100 }] };
            return %s""" % call) == text, call


def test_page_is_what_the_files_say(site):
    """The program has the files as they are now."""
    site.write(site.pool(workers=1))
    site.start()
    with urllib.request.urlopen(site.url, timeout=10) as answer:
        text = answer.read().decode()
    for name in ("css", "js"):
        with open(os.path.join(TOP, "src", "gate", "page." + name), encoding="utf-8") as f:
            assert f.read() in text
