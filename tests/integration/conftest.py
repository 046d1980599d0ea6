"""Fixtures: a preforkd of one's own, and the rule that a test leaves nothing behind."""

import os
import signal
import sys
import tempfile

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from ctl import Ctl  # noqa: E402
from daemon import APPS, IS_ROOT, Daemon  # noqa: E402
from fakegate import FakeGate  # noqa: E402
from webserver import Nginx  # noqa: E402


def pytest_configure(config):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it
    config.addinivalue_line("markers", "quick: part of make check")
    config.addinivalue_line("markers", "root: needs root")


def pytest_collection_modifyitems(items):
    for item in items:
        if "root" in item.keywords and not IS_ROOT:
            item.add_marker(pytest.mark.skip(reason="needs root"))


@pytest.fixture
def daemon(request):
    with Daemon(request.node.originalname.replace("test_", "")[:20]) as d:
        yield d


@pytest.fixture
def apps():
    return APPS


@pytest.fixture
def nginx(daemon):
    """Starts nginx from the sample in conf/ in front of an upstream: nginx(upstream) -> URL."""
    servers = []

    def start(upstream, edit=None):
        servers.append(Nginx(daemon, upstream, edit))
        return servers[-1].url

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def place():
    """A path for a control socket."""
    with tempfile.TemporaryDirectory(prefix="preforkd-ctl-") as directory:
        yield os.path.join(directory, "control.sock")


@pytest.fixture
def fake(place):
    """A gate that answers what the test says, and the client for it."""
    with FakeGate(place) as gate:
        gate.ctl = Ctl(place)
        yield gate
