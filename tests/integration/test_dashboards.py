"""The samples for Prometheus and Grafana: they name the metrics that exist, and each query has an
answer from a real Prometheus that has scraped a real daemon."""

import json
import os
import re
import subprocess
import urllib.error
import urllib.parse
import urllib.request

import pytest

import fcgi
from daemon import TOP, free_port, read, wait_for

CONF = os.path.join(TOP, "conf")
NAME = re.compile(r"\bpreforkd_\w+")


def expressions():
    """Every query of the dashboard, with its variables filled in."""
    with open(CONF + "/grafana.json", encoding="utf-8") as f:
        board = json.load(f)
    found = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    found += [a["expr"] for a in board["annotations"]["list"]]
    found += [v["query"]["query"] for v in board["templating"]["list"] if v["type"] == "query"]
    for variable, value in (("$__rate_interval", "1m"), ("$instance", ".*"), ("$pool", ".*")):
        found = [e.replace(variable, value) for e in found]
    return found


def promtool(*words):
    done = subprocess.run(["promtool", *words], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def observed(daemon, *pools):
    """The daemon started with metrics at its url."""
    address = "127.0.0.1:%d" % free_port()
    daemon.write(*pools, http=address, control=daemon.dir + "/control.sock")
    daemon.start()
    daemon.address = address
    return daemon


@pytest.mark.quick
def test_names(daemon):
    """Dashboard and alerts use the metrics that there are, and all of them."""
    observed(daemon, daemon.pool(workers=1))
    with urllib.request.urlopen("http://%s/metrics" % daemon.address, timeout=10) as answer:
        types = dict(re.findall(r"^# TYPE (\w+) (\w+)", answer.read().decode(), re.M))
    assert len(types) > 20
    there = {name + part for name, kind in types.items()
             for part in (("_bucket", "_sum", "_count") if kind == "histogram" else ("",))}
    used = set(NAME.findall("\n".join(expressions())))
    alerts = set(NAME.findall(read(CONF + "/prometheus-rules.yml")))
    assert used - there == set() and alerts - there == set()
    assert there - used == set()


@pytest.mark.quick
def test_files_are_valid(daemon):
    """By Prometheus's own checks; each query of the dashboard is one that it understands."""
    promtool("check", "config", CONF + "/prometheus.yml")
    assert "SUCCESS" in promtool("check", "rules", CONF + "/prometheus-rules.yml")
    queries = [e for e in expressions() if not e.startswith("label_values")]
    rules = [{"record": "q:%d" % i, "expr": e} for i, e in enumerate(queries)]
    path = daemon.dir + "/queries.yml"
    with open(path, "w", encoding="utf-8") as f:
        json.dump({"groups": [{"name": "dashboard", "rules": rules}]}, f)  # JSON is YAML
    promtool("check", "rules", path)


# series, one value a minute, and the alert that they raise after ten of them
WELL = {
    'up{job="preforkd"}': "1", 'preforkd_state{state="serving"}': "1",
    'preforkd_backoff_active{pool="www"}': "0", 'preforkd_pool_healthy{pool="www"}': "1",
    'preforkd_pool_draining{pool="www"}': "0",
    'preforkd_queue_connections{pool="www",address="a"}': "0",
    'preforkd_queue_limit_connections{pool="www",address="a"}': "100",
    'preforkd_workers{pool="www",state="busy"}': "3", 'preforkd_workers{pool="www",state="idle"}': "0",
    'preforkd_workers_maximum{pool="www"}': "4",
    'preforkd_workers_died_total{pool="www",cause="signal"}': "7",
    'preforkd_workers_died_total{pool="www",cause="retired"}': "0+50x30",
    'preforkd_longest_request_seconds{pool="www"}': "1",
    "preforkd_last_reload_successful": "1", "preforkd_last_upgrade_successful": "1",
    "preforkd_gate_restarts_total": "2",
}
TROUBLE = [
    ({}, []),
    ({'up{job="preforkd"}': "0"}, ["PreforkdDown"]),
    ({'preforkd_state{state="serving"}': "0"}, ["PreforkdNotServing"]),
    ({'preforkd_backoff_active{pool="www"}': "1"}, ["PreforkdBackoff"]),
    ({'preforkd_pool_healthy{pool="www"}': "0"}, ["PreforkdPoolNotHealthy"]),
    ({'preforkd_pool_healthy{pool="www"}': "0", 'preforkd_pool_draining{pool="www"}': "1"}, []),
    ({'preforkd_queue_connections{pool="www",address="a"}': "5"}, ["PreforkdQueueStanding"]),
    ({'preforkd_queue_connections{pool="www",address="a"}': "0 5 0 0 5 0 0 5 0 0 5 0 0 5"}, []),
    ({'preforkd_queue_connections{pool="www",address="a"}': "0 0 0 0 0 0 0 0 0 0 81"},
     ["PreforkdQueueNearlyFull"]),
    ({'preforkd_workers{pool="www",state="busy"}': "4"}, ["PreforkdNoIdleWorker"]),
    ({'preforkd_workers_died_total{pool="www",cause="signal"}': "0+1x30"}, ["PreforkdWorkersDie"]),
    ({'preforkd_longest_request_seconds{pool="www"}': "0+60x30"}, ["PreforkdRequestHangs"]),
    ({"preforkd_last_reload_successful": "0"}, ["PreforkdReloadFailed"]),
    ({"preforkd_last_upgrade_successful": "0"}, ["PreforkdReloadFailed"]),
    ({"preforkd_gate_restarts_total": "0 0 0 0 0 0 0 0 1 1 1 1"}, ["PreforkdGateRestarts"]),
]


def rule_test(changes, alert, firing):
    """One test of promtool: is this alert there after ten minutes, or is it not?"""
    values = {**WELL, **changes}
    series = [{"series": name, "values": v if " " in v or "x" in v else v + "x30"}
              for name, v in values.items()]
    query = 'count(ALERTS{alertname="%s",alertstate="firing"})' % alert
    wanted = [{"labels": "{}", "value": 1}] if firing else []
    return {"interval": "1m", "input_series": series,
            "promql_expr_test": [{"expr": query, "eval_time": "10m", "exp_samples": wanted}]}


def test_alerts(daemon):
    """Each trouble raises its alert and no other; a day without trouble raises none."""
    names = re.findall(r"alert: (\w+)", read(CONF + "/prometheus-rules.yml"))
    tests = [rule_test(changes, name, name in alerts) for changes, alerts in TROUBLE for name in names]
    assert {a for _, alerts in TROUBLE for a in alerts} == set(names)
    path = daemon.dir + "/rules-test.yml"
    with open(path, "w", encoding="utf-8") as f:
        json.dump({"rule_files": [CONF + "/prometheus-rules.yml"], "evaluation_interval": "1m",
                   "tests": tests}, f)
    promtool("test", "rules", path)


# With a real Prometheus


class Prometheus:
    """Runs with the sample configuration, but faster, and for one daemon."""

    def __init__(self, daemon):
        self.url = "http://127.0.0.1:%d" % free_port()
        text = read(CONF + "/prometheus.yml").replace("127.0.0.1:9253", daemon.address)
        text = re.sub(r"interval: \w+", "interval: 1s", text)
        text = text.replace("- prometheus-rules.yml", "- %s/prometheus-rules.yml" % CONF)
        path = daemon.dir + "/prometheus.yml"
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        with open(daemon.dir + "/prometheus.log", "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                ["prometheus", "--config.file=" + path, "--storage.tsdb.path=" + daemon.dir + "/tsdb",
                 "--web.listen-address=" + self.url[7:]], stderr=log, stdout=log, cwd=daemon.dir)

    def ask(self, what, **parameters):
        url = "%s/api/v1/%s?%s" % (self.url, what, urllib.parse.urlencode(parameters))
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def result(self, query):
        try:
            return self.ask("query", query=query)["result"]
        except urllib.error.URLError:
            return []  # it has not started yet

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(20)


def test_every_query_has_an_answer(daemon):
    """Of the dashboard, by a real Prometheus with the sample configuration; and no alert is raised."""
    observed(daemon, daemon.pool(workers=2))
    daemon.reload()
    assert daemon.upgrade() == "ok"
    with Prometheus(daemon) as prometheus:
        wait_for(lambda: [r["value"][1] for r in prometheus.result("up")] == ["1"])
        fcgi.get(daemon.sock)
        total = "sum(preforkd_requests_total)"
        wait_for(lambda: [r["value"][1] for r in prometheus.result(total)] == ["1"])
        # what shows a change has nothing to show here
        queries = [e for e in expressions() if not e.startswith(("label_values", "changes"))]
        for query in queries:  # a rate needs two scrapes
            wait_for(lambda q=query: prometheus.result(q), why=query)
        for query in (e for e in expressions() if e.startswith("label_values")):
            metric, label = re.fullmatch(r"label_values\((.*), (\w+)\)", query).groups()
            assert all(label in r["metric"] for r in prometheus.result(metric))
        rules = prometheus.ask("rules")["groups"][0]["rules"]
        assert all(rule["health"] in ("ok", "unknown") for rule in rules)
        assert prometheus.ask("alerts")["alerts"] == []
