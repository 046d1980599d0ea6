"""make install and make uninstall, into a directory of the test."""

import os
import re
import shutil
import stat
import subprocess

import pytest

import fcgi
from daemon import TOP, Daemon, free_port, read

MODES = {
    "usr/sbin/preforkd": 0o755,
    "usr/sbin/preforkctl": 0o755,
    "usr/share/bash-completion/completions/preforkctl": 0o644,
    "usr/lib/preforkd/preforkd-reload": 0o755,
    "usr/include/preforkd_app.h": 0o644,
    "usr/share/man/man8/preforkd.8": 0o644,
    "usr/share/man/man8/preforkctl.8": 0o644,
    "usr/share/man/man5/preforkd.conf.5": 0o644,
    "usr/share/man/man3/preforkd_app.3": 0o644,
    "usr/lib/systemd/system/preforkd.service": 0o644,
    "usr/lib/systemd/system/preforkd.socket": 0o644,
    "usr/lib/tmpfiles.d/preforkd.conf": 0o644,
    "usr/share/doc/preforkd/examples/nginx.conf": 0o644,
    "usr/share/doc/preforkd/examples/apache.conf": 0o644,
    "usr/share/doc/preforkd/examples/lighttpd.conf": 0o644,
    "usr/share/doc/preforkd/examples/Caddyfile": 0o644,
    "usr/share/doc/preforkd/examples/haproxy.cfg": 0o644,
    "usr/share/doc/preforkd/examples/prometheus.yml": 0o644,
    "usr/share/doc/preforkd/examples/prometheus-rules.yml": 0o644,
    "usr/share/doc/preforkd/examples/grafana.json": 0o644,
    "usr/share/doc/preforkd/examples/preforkd.openrc": 0o755,
    "usr/share/doc/preforkd/examples/runit/run": 0o755,
    "etc/init.d/preforkd": 0o755,
    "etc/logrotate.d/preforkd": 0o644,
    "etc/preforkd/preforkd.conf": 0o644,
}


class Tree:
    """What is installed below DESTDIR."""

    def __init__(self, daemon, source=None):
        """source: another tree, which this one becomes a copy of."""
        self.daemon = daemon
        self.top = os.path.join(daemon.dir, "root")
        if source is None:
            os.mkdir(self.top)
        else:
            shutil.copytree(source.top, self.top)

    def make(self, target, umask=0o022):
        # without the variables of a make that runs the tests
        env = {k: v for k, v in self.daemon.environment().items()
               if not k.startswith(("MAKE", "MF"))}
        done = subprocess.run(["make", "-C", TOP, target, "DESTDIR=" + self.top, "PREFIX=/usr"],
                              capture_output=True, text=True, timeout=120, check=False, env=env,
                              umask=umask)
        assert done.returncode == 0, done.stdout + done.stderr

    def path(self, name):
        return os.path.join(self.top, name)

    def files(self):
        return {os.path.relpath(os.path.join(folder, name), self.top)
                for folder, _, names in os.walk(self.top) for name in names}


@pytest.fixture(scope="module")
def installed():
    """What make install makes, once, for all that only look at it."""
    with Daemon("installed") as d:
        t = Tree(d)
        t.make("install")
        yield t
        assert t.files() == set(MODES)
        check_modes(t)


@pytest.fixture
def tree(daemon, installed):
    """The same, for a test that changes it."""
    return Tree(daemon, installed)


def check_modes(tree):
    for name, mode in MODES.items():
        st = os.stat(tree.path(name))
        assert stat.S_IMODE(st.st_mode) == mode, (name, oct(st.st_mode))
        assert st.st_uid == os.geteuid() and st.st_size > 0, name
    for folder, names, _ in os.walk(tree.top):
        for name in names:
            mode = stat.S_IMODE(os.stat(os.path.join(folder, name)).st_mode)
            assert mode == 0o755, (os.path.join(folder, name), oct(mode))


@pytest.mark.quick
def test_files_and_modes(installed):
    """A new file wants a line in this test, and one in make uninstall."""
    assert installed.files() == set(MODES)
    assert os.path.isdir(installed.path("etc/preforkd/pools.d"))
    check_modes(installed)


def test_umask_of_the_installer_does_not_matter(daemon):
    tree = Tree(daemon)
    tree.make("install", umask=0o077)
    check_modes(tree)


@pytest.mark.quick
def test_placeholders_are_filled(installed):
    for name in sorted(installed.files() - {"usr/sbin/preforkd", "usr/sbin/preforkctl"}):
        left = re.findall("@[A-Z]{3,}@", read(installed.path(name)))
        assert not left, (name, left)


def test_paths_in_scripts_and_units(installed):
    """Every path that they name in the places that make fills is installed, or made at run time."""
    for name in ("etc/init.d/preforkd", "usr/lib/systemd/system/preforkd.service",
                 "usr/share/doc/preforkd/examples/preforkd.openrc",
                 "usr/share/doc/preforkd/examples/runit/run"):
        text = read(installed.path(name))
        ours = r"(?<![\w/.])/(?:usr/(?:sbin|lib/preforkd)|etc/preforkd)/[\w./-]*\w"
        for word in re.findall(ours, text):
            assert os.path.exists(installed.path(word[1:])), (name, word)
        assert "/usr/sbin/preforkd" in text, name
        assert "/run/preforkd" in text, name
    script = read(installed.path("etc/init.d/preforkd"))
    for line in ("DAEMON=/usr/sbin/preforkd", "RELOAD=/usr/lib/preforkd/preforkd-reload",
                 "PREFORKD_CONF=/etc/preforkd/preforkd.conf", "PIDFILE=/run/preforkd/preforkd.pid"):
        assert line in script.splitlines()
    for name in ("preforkd.sysv", "preforkd.openrc", "preforkd.service", "runit/run"):
        source = read(os.path.join(TOP, "init", name))
        assert not re.search(r"(?<!@)/(etc/preforkd|run/preforkd/)", source), name


@pytest.mark.quick
def test_manuals(installed):
    """The pages are there, and mandoc has nothing against them."""
    pages = [installed.path("usr/share/man/man%s/%s" % (p[-1], p))
             for p in ("preforkd.8", "preforkctl.8", "preforkd.conf.5", "preforkd_app.3")]
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", *pages], capture_output=True,
                          text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_example_of_the_manual(installed, daemon):
    """The example of preforkd_app(3) compiles with the installed header, and serves."""
    page = read(installed.path("usr/share/man/man3/preforkd_app.3"))
    code = [part for part in re.findall(r"^\.Bd -literal\n(.*?)^\.Ed", page, re.M | re.S)
            if part.startswith("#include <preforkd_app.h>")]
    assert len(code) == 1
    source, module = daemon.dir + "/visits.c", daemon.dir + "/visits.so"
    with open(source, "w", encoding="utf-8") as f:
        f.write(code[0].replace("\\e", "\\"))
    subprocess.run(["cc", "-Wall", "-Wextra", "-Werror", "-O2", "-shared", "-fPIC", "-o", module,
                    source, "-I" + installed.path("usr/include"), "-lfcgi"], check=True, timeout=60)
    os.chmod(module, 0o755)
    daemon.write(daemon.pool(module=module + " 'good morning'", workers=1))
    daemon.start()
    answer = fcgi.body_of(fcgi.get(daemon.sock, b"x" * 1000)).decode()
    assert answer == "good morning from worker 1 of pool www\nvisit 1, 1000 bytes received\n"
    assert fcgi.get(daemon.sock, REQUEST_METHOD="DELETE").startswith(b"Status: 405 ")
    daemon.end()
    assert "visits: worker 1 leaves" in daemon.read_log()


@pytest.mark.quick
def test_sample_configuration(installed, daemon):
    """It is right as it is, and serves when its directories are there."""
    sample = read(installed.path("etc/preforkd/preforkd.conf"))
    assert "/run/preforkd/" in sample and "/var/log/preforkd/" in sample
    sample = sample.replace("/run/preforkd/", daemon.dir + "/")
    sample = sample.replace("/var/log/preforkd/", daemon.dir + "/")
    address = "127.0.0.1:%d" % free_port()
    with open(daemon.conf, "w", encoding="utf-8") as f:
        f.write(sample.replace("127.0.0.1:9000", address))
    os.chmod(daemon.conf, 0o644)
    done = daemon.run("-t", "-c", daemon.conf)
    assert (done.returncode, done.stderr) == (0, "preforkd: %s is fine\n" % daemon.conf)
    daemon.start()
    assert fcgi.number(address) == 1


def test_install_keeps_the_configuration(tree):
    with open(tree.path("etc/preforkd/preforkd.conf"), "w", encoding="utf-8") as f:
        f.write("; mine\n")
    tree.make("install")
    assert read(tree.path("etc/preforkd/preforkd.conf")) == "; mine\n"


@pytest.mark.quick
def test_uninstall_leaves_only_the_configuration(tree):
    mine = tree.path("etc/preforkd/pools.d/mine.conf")
    with open(mine, "w", encoding="utf-8") as f:
        f.write("; mine\n")
    tree.make("uninstall")
    assert tree.files() == {"etc/preforkd/preforkd.conf", "etc/preforkd/pools.d/mine.conf"}


def test_logrotate(installed, daemon):
    """The command after a rotation lets preforkd open its log again, if there is one."""
    text = read(installed.path("etc/logrotate.d/preforkd"))
    script = re.search(r"^\s*postrotate\n(.*?)^\s*endscript", text, re.M | re.S).group(1)
    script = script.replace("/run/preforkd/preforkd.pid", daemon.pidfile)
    subprocess.run(["sh", "-ec", script], check=True, timeout=20)
    daemon.write(daemon.pool())
    daemon.start()
    os.rename(daemon.log, daemon.log + ".1")
    subprocess.run(["sh", "-ec", script], check=True, timeout=20)
    daemon.wait_log("logs reopened")


@pytest.mark.root
def test_tmpfiles(daemon, installed):
    """The directories of the default configuration, before the first start."""
    other = os.path.join(daemon.dir, "boot")
    os.makedirs(other + "/etc")
    for name in ("passwd", "group"):
        with open(other + "/etc/" + name, "w", encoding="utf-8") as f:
            f.write(read("/etc/" + name))
    subprocess.run(["systemd-tmpfiles", "--create", "--root=" + other,
                    installed.path("usr/lib/tmpfiles.d/preforkd.conf")], check=True, timeout=20)
    st = os.stat(other + "/run/preforkd")
    assert stat.S_IMODE(st.st_mode) == 0o755 and st.st_uid == 0
    assert os.path.isdir(other + "/var/log/preforkd")


def test_modules_of_the_administrator_stay(tree):
    """uninstall takes what install brought, and nothing else."""
    module = tree.path("usr/lib/preforkd/hello.so")
    with open(module, "w", encoding="utf-8") as f:
        f.write("x")
    tree.make("uninstall")
    assert os.listdir(os.path.dirname(module)) == ["hello.so"]


def test_manuals_name_the_real_places(installed):
    for page in ("man8/preforkd.8", "man3/preforkd_app.3"):
        assert "/usr/local/lib" not in read(installed.path("usr/share/man/" + page))
