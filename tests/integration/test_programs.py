"""Any FastCGI program: unmodified ones from the distribution, and what they are given."""

import grp
import json
import os
import pwd
import shutil
import subprocess
import sys

import pytest

import fcgi
from daemon import APPS, BINARY, IS_ROOT, read, status, wait_for

PROGRAMS = {
    "php-cgi": ("/usr/bin/php-cgi", {"SCRIPT_FILENAME": APPS + "/hello.php"}, b"php a body"),
    "perl": ("/usr/bin/perl %s/perl_fcgi.pl" % APPS, {}, b"perl a body"),
    "cgi-fast": ("/usr/bin/perl %s/cgi_fast.pl" % APPS,
                 {"REQUEST_METHOD": "GET", "QUERY_STRING": "q=7"}, b"fast 7"),
    "mapserver": ("/usr/bin/mapserv",
                  {"REQUEST_METHOD": "GET", "QUERY_STRING": "map=%s/hello.map&SERVICE=WMS"
                   "&VERSION=1.3.0&REQUEST=GetCapabilities" % APPS}, b"<WMS_Capabilities"),
    "fcgiwrap": ("/usr/sbin/fcgiwrap", {"SCRIPT_FILENAME": APPS + "/hello.cgi"}, b"cgi a body"),
    "ruby": ("/usr/bin/ruby %s/ruby_fcgi.rb" % APPS, {}, b"ruby a body"),
    "libfcgi": (APPS + "/plain", {}, b" a body"),
}

# Says what a program finds: started without FastCGI on purpose, it prints to the log.
LOOK = """
import json, os, resource, signal, sys
status = dict(l.split(":", 1) for l in open("/proc/self/status"))
seen = {
    "argv": sys.argv[1:], "env": dict(os.environ), "cwd": os.getcwd(),
    "fds": {fd: os.readlink("/proc/self/fd/" + fd) for fd in os.listdir("/proc/self/fd")
            if os.path.exists("/proc/self/fd/" + fd) or not fd.isdigit() or int(fd) < 3},
    "uid": os.getresuid(), "gid": os.getresgid(), "groups": os.getgroups(),
    "umask": os.umask(0), "nice": os.nice(0), "pgrp": os.getpgrp() == os.getpid(),
    "nofile": resource.getrlimit(resource.RLIMIT_NOFILE), "core": resource.getrlimit(resource.RLIMIT_CORE),
    "as": resource.getrlimit(resource.RLIMIT_AS), "root": os.readlink("/proc/self/root"),
    "nnp": status["NoNewPrivs"].strip(), "blocked": status["SigBlk"].strip(),
    "ignored": status["SigIgn"].strip(), "caps": status["CapEff"].strip(),
    "blocking": os.get_blocking(0),
}
open(sys.argv[1], "w").write(json.dumps(seen))
import socket
s = socket.socket(fileno=0)
while True:
    s.accept()
"""


def look(daemon, env=None, **keys):
    """Starts a pool of one program that writes down what it sees; returns that."""
    script, out = os.path.join(daemon.dir, "look.py"), os.path.join(daemon.dir, "out")
    with open(script, "w", encoding="utf-8") as f:
        f.write(LOOK)
    os.makedirs(out, exist_ok=True)
    os.chmod(out, 0o777)
    seen = os.path.join(out, "seen")
    daemon.write(daemon.pool(command="%s %s %s 'a b' \"c\\\"d\"" % (sys.executable, script, seen),
                             workers=1, **keys))
    daemon.start(env=env)
    return json.loads(wait_for(lambda: read(seen)))


@pytest.mark.parametrize("name", PROGRAMS)
def test_unmodified_programs(daemon, name):
    """Serves, survives a worker's death and a reload, and stops."""
    command, params, expected = PROGRAMS[name]
    if not shutil.which(command.split()[0]):
        pytest.fail("%s is not installed: make deps" % command)
    daemon.write(daemon.pool(command=command, workers=2,
                             env_MAPSERVER_CONFIG_FILE=APPS + "/mapserver.conf"))
    daemon.start()
    params = {"QUERY_STRING": "", "REDIRECT_STATUS": "200", "SERVER_NAME": "x",
              "SERVER_PROTOCOL": "HTTP/1.1", "SERVER_PORT": "80", **params}
    body = b"" if params.get("REQUEST_METHOD") == "GET" else b"a body"

    def ask():
        answer = fcgi.get(daemon.sock, body, **params)
        assert expected in fcgi.body_of(answer), answer

    for _ in range(10):
        ask()
    before = set(daemon.workers())
    os.kill(min(before), 9)
    wait_for(lambda: len(set(daemon.workers()) - before) == 1)
    ask()
    assert daemon.reload() == "ok"
    for _ in range(5):
        ask()
    wait_for(lambda: not before & set(daemon.workers()))
    assert len(daemon.wait_workers(2)) == 2


@pytest.mark.quick
def test_descriptors_and_arguments(daemon):
    """The listener on 0, the output on 1 and 2, nothing else; quoting as in a shell."""
    seen = look(daemon)
    assert seen["argv"][1:] == ["a b", 'c"d']
    assert set(seen["fds"]) - {"3", "4"} == {"0", "1", "2"}  # 3, 4: those of the look itself
    assert seen["fds"]["0"].startswith("socket:")
    assert seen["fds"]["1"] == seen["fds"]["2"] and seen["fds"]["1"].startswith("pipe:")
    assert not [v for k, v in seen["fds"].items() if k > "2" and v.startswith(("socket:", "pipe:"))]
    assert seen["blocking"] and seen["pgrp"]
    assert seen["blocked"] == "0" * 16
    # Python itself ignores PIPE and XFSZ; 32 and 33 are the C library's own
    assert int(seen["ignored"], 16) & ~0x181001000 == 0
    assert seen["nnp"] == "1" and seen["umask"] == 0o022 and seen["cwd"] == "/"
    assert seen["core"] == [0, 0]


@pytest.mark.quick
def test_environment_is_clean(daemon):
    """PATH, LANG, TZ, HOME and USER; what pass-env names; what env.NAME sets."""
    seen = look(daemon, env={"SECRET": "x", "WANTED": "y", "TZ": "UTC", "LANG": "C", "BOTH": "1",
                             "NOTIFY_SOCKET": ""},
                pass_env="WANTED BOTH MISSING", env_MINE='"a b"', env_BOTH=2)["env"]
    assert seen["WANTED"] == "y" and seen["MINE"] == "a b" and seen["BOTH"] == "2"
    for name in ("LC_CTYPE", "PWD", "SHLVL", "_"):
        seen.pop(name, None)  # Python's own
    assert set(seen) == {"PATH", "LANG", "TZ", "HOME", "USER", "WANTED", "MINE", "BOTH"}


def test_environment_of_the_user(daemon):
    seen = look(daemon)
    who = pwd.getpwnam("nobody") if IS_ROOT else pwd.getpwuid(os.geteuid())
    assert (seen["env"]["USER"], seen["env"]["HOME"]) == (who.pw_name, who.pw_dir)


@pytest.mark.root
def test_privileges_are_gone(daemon):
    nobody = pwd.getpwnam("nobody")
    seen = look(daemon)
    assert seen["uid"] == [nobody.pw_uid] * 3 and seen["gid"] == [nobody.pw_gid] * 3
    assert seen["groups"] in ([], [nobody.pw_gid])
    assert int(seen["caps"], 16) == 0


@pytest.mark.root
def test_user_group_and_groups(daemon):
    seen = look(daemon, user="daemon", group="mail", groups="tty video")
    assert seen["uid"] == [pwd.getpwnam("daemon").pw_uid] * 3
    assert seen["gid"] == [grp.getgrnam("mail").gr_gid] * 3
    assert sorted(seen["groups"]) == sorted(grp.getgrnam(g).gr_gid for g in ("mail", "tty", "video"))


@pytest.mark.root
def test_pools_have_users_of_their_own(daemon, apps):
    daemon.write(daemon.pool("one", user="daemon", command=apps + "/plain"),
                 daemon.pool("two", listen=daemon.dir + "/two.sock", listen_mode="0666", user="mail"))
    daemon.start()
    uids = {status(p, "Uid").split()[0] for p in daemon.workers()}
    assert uids == {str(pwd.getpwnam(u).pw_uid) for u in ("daemon", "mail")}
    two = daemon.workers("two")
    assert {status(p, "Uid").split()[0] for p in two} == {str(pwd.getpwnam("mail").pw_uid)}


def test_limits_and_places(daemon):
    seen = look(daemon, umask="027", directory="/usr", nice=5, limit_nofile=77, limit_core="1M",
                limit_as="512M", no_new_privileges="no")
    assert seen["umask"] == 0o027 and seen["cwd"] == "/usr" and seen["nice"] == 5
    assert seen["nofile"] == [77, 77] and seen["as"] == [512 << 20] * 2
    assert seen["core"] == [1 << 20] * 2 and seen["nnp"] == "0"


@pytest.mark.root
def test_chroot(daemon, apps):
    """The program is looked for inside; the directory too."""
    root = os.path.join(daemon.dir, "root")
    os.makedirs(root + "/bin")
    os.makedirs(root + "/srv")
    copy_with_libraries(apps, root + "/bin/plain")
    daemon.write(daemon.pool(command="/bin/plain", chroot=root, directory="/srv", workers=1))
    daemon.start()
    worker = daemon.workers()[0]
    assert os.readlink("/proc/%d/root" % worker) == root
    assert os.readlink("/proc/%d/cwd" % worker) == root + "/srv"
    assert fcgi.get(daemon.sock)
    daemon.end()
    daemon.write(daemon.pool(command="/bin/missing", chroot=root))
    done = daemon.run("-c", daemon.conf)
    assert done.returncode == 69 and "/bin/missing" in done.stderr


def copy_with_libraries(apps, to):
    """The program with the libraries that it needs, in the places where it looks for them."""
    root = os.path.dirname(os.path.dirname(to))
    shutil.copy(apps + "/plain", to)
    for line in subprocess.run(["ldd", to], capture_output=True, text=True, check=True).stdout.split():
        if line.startswith("/"):
            os.makedirs(root + os.path.dirname(line), exist_ok=True)
            shutil.copy(line, root + line)


def test_ordinary_user_and_user_key(daemon):
    """Without root everything works that needs no privilege; user = is refused in words."""
    if IS_ROOT:
        pytest.skip("for ordinary users; as root, test_start and this file run the privileged side")
    daemon.write(daemon.pool(user="daemon"))
    done = daemon.run("-c", daemon.conf)
    assert done.returncode == 77 and "only root" in done.stderr and ":9:" in done.stderr


@pytest.mark.root
def test_ordinary_user_from_root(daemon, apps):
    """The same as root sees it: preforkd started by an ordinary user."""
    place = os.path.join(daemon.dir, "own")
    os.mkdir(place)
    os.chown(place, 65534, 65534)
    binary = os.path.join(place, "preforkd")
    shutil.copy(BINARY, binary)
    os.chmod(binary, 0o755)
    conf = os.path.join(place, "conf")

    def run(pool, *args):
        with open(conf, "w", encoding="utf-8") as f:
            f.write("[preforkd]\npid-file = %s/pid\nlog = %s/log\n[pool www]\nlisten = %s/s\n%s"
                    % (place, place, place, pool))
        os.chmod(conf, 0o644)
        return subprocess.run([binary, "-c", conf, *args], capture_output=True, text=True, user=65534,
                              group=65534, extra_groups=[], env=daemon.environment(), timeout=30,
                              check=False)

    done = run("user = daemon\napp = counter\n")
    assert done.returncode == 77 and "conf:6:" in done.stderr and "root" in done.stderr
    done = run("nice = -5\napp = counter\n")
    assert done.returncode in (69, 77), done
    for pool in ("app = counter\n", "command = %s/plain\n" % apps, "module = %s/module_echo\n" % apps):
        done = run(pool)
        assert done.returncode == 0, done.stderr
        daemon.pid = int(read(place + "/pid"))
        assert status(daemon.pid, "Uid").split()[0] == "65534"
        assert fcgi.get(place + "/s")
        daemon.end()
        assert sorted(os.listdir(place)) == ["conf", "log", "preforkd"]


@pytest.mark.root
def test_root_is_refused_for_workers(daemon):
    for user in ("root", "0"):
        daemon.write(daemon.pool(user=user))
        done = daemon.run("-c", daemon.conf)
        assert done.returncode == 77, done
