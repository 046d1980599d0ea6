"""The metrics: in both formats, as their readers want them; and what is in the way of the names."""

import math
import os
import re
import shutil
import subprocess

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse_plain

import fcgi
from daemon import APPS, TOP, read, wait_for
from gate import Gate

OPEN = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PROMETHEUS = "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"


@pytest.fixture
def gate(daemon):
    """A daemon with a pool of each kind, one of them with a program of an odd name."""
    odd = daemon.dir + '/a "b" \\c'
    shutil.copy(APPS + "/plain", odd)
    daemon.write(daemon.pool(workers=2),
                 daemon.pool("echo", module=APPS + "/module_echo", listen=daemon.dir + "/echo.sock"),
                 daemon.pool("odd", command="'%s' x" % odd, listen=daemon.dir + "/odd.sock", workers=2),
                 control=daemon.dir + "/control.sock")
    daemon.start()
    return Gate(daemon)


def names(families):
    return {s.name for f in families for s in f.samples}


@pytest.mark.quick
def test_openmetrics(daemon, gate):
    answer = gate.get("/metrics", Accept=PROMETHEUS)
    assert answer.headers["Content-Type"] == OPEN and answer.body.endswith(b"\n# EOF\n")
    families = list(parse_open(answer.text()))  # strict about order, units, types and the end
    assert all(f.name.startswith("preforkd_") and f.documentation for f in families)
    assert all(f.type in ("counter", "gauge", "histogram") for f in families)
    for f in families:
        assert (f.unit or "") == next((u for u in ("seconds", "bytes", "connections")
                                       if f.name.endswith("_" + u)), "")
    info = next(f for f in families if f.name == "preforkd_pool_info")
    assert {"pool": "odd", "kind": "command", "program": daemon.dir + '/a "b" \\c x'} in [
        s.labels for s in info.samples]


@pytest.mark.quick
def test_plain_text(gate):
    answer = gate.get("/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    plain = list(parse_plain(answer.text()))
    assert names(plain) == names(parse_open(gate.get("/metrics", Accept=PROMETHEUS).text()))
    if shutil.which("promtool"):
        done = subprocess.run(["promtool", "check", "metrics"], input=answer.text(), text=True,
                              capture_output=True, timeout=60, check=False)
        assert done.returncode == 0 and not done.stderr, done.stderr


def test_manual_knows_them_all(daemon, gate):
    """preforkd(8) names every metric, and no other."""
    assert daemon.reload() == "ok"  # then the last one's result is known
    assert daemon.upgrade() == "ok"
    wait_for(lambda: gate.status()["upgrades"]["last"]["result"] == "done")
    there = {re.sub("(?<=seconds)_(bucket|count|sum)$", "", n)
             for n in names(parse_plain(gate.get("/metrics").text()))}
    manual = read(os.path.join(TOP, "src", "preforkd.8"))
    assert set(re.findall(r"\bpreforkd_(?!app\b)\w+", manual)) == there


def test_they_say_what_the_status_says(daemon, gate):
    for _ in range(5):
        fcgi.get(daemon.sock)
    wait_for(lambda: gate.pool()["requests"] == 5)

    def agree():
        values, pool = gate.metrics(), gate.pool()
        resident = sum(w["resident_bytes"] for w in pool["list"])
        return values['preforkd_requests_total{pool="www"}'] == 5 and \
            values['preforkd_workers{pool="www",state="idle"}'] == pool["workers"]["idle"] == 2 and \
            values['preforkd_workers_resident_bytes{pool="www"}'] == resident and \
            values['preforkd_queue_limit_connections{pool="www",address="%s"}' % daemon.sock] == 4096 and \
            values['preforkd_workers_spawned_total{pool="www"}'] == 2 and \
            values['preforkd_pool_healthy{pool="www"}'] == 1 and \
            values['preforkd_state{state="serving"}'] == 1
    wait_for(agree)
    values = gate.metrics()
    assert math.isclose(values["preforkd_start_time_seconds"], gate.status()["started"], abs_tol=0.002)
    assert not any("requests_total" in k and "odd" in k for k in values)
