"""Listeners: every kind of address, who may use them, and what is found at the place."""

import grp
import os
import pwd
import socket
import stat
import subprocess
import sys
import threading
import time

import pytest

import fcgi
from daemon import APPS, BINARY, IS_ROOT, free_port, read, wait_for

LAUNCH = """
import os, sys
n = int(sys.argv[1])
fds = [int(a) for a in sys.argv[2:2 + n]]
moved = [os.dup(fd) for fd in fds]
for at, fd in enumerate(moved):
    os.dup2(fd, 3 + at)
    os.set_inheritable(3 + at, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(n), LISTEN_FDNAMES=sys.argv[2 + n])
os.execv(sys.argv[3 + n], sys.argv[3 + n:])
"""


def has_ipv6():
    try:
        free_port(socket.AF_INET6)
        return True
    except OSError:
        return False


def serves(address):
    return fcgi.get(address).startswith(b"Content-Type")


def refuses(daemon, code, sentence):
    done = daemon.run("-c", daemon.conf)
    assert done.returncode == code, (done.returncode, done.stderr)
    assert sentence in done.stderr, done.stderr


@pytest.mark.quick
def test_every_kind_of_address(daemon):
    port, second, third = free_port(), free_port(), free_port()
    name = "@preforkd-test-%d" % os.getpid()
    addresses = ["127.0.0.1:%d" % port, "*:%d" % second, daemon.sock, name]
    reached = ["127.0.0.1:%d" % port, "127.0.0.1:%d" % second, daemon.sock, name]
    if has_ipv6():
        addresses.append("[::1]:%d" % third)
        reached += ["[::1]:%d" % third, "[::1]:%d" % second]
    daemon.write(daemon.pool(listen=" ".join(addresses)))
    daemon.start()
    for address in reached:
        assert serves(address), address
    if has_ipv6():
        with pytest.raises(OSError):
            fcgi.connect("127.0.0.1:%d" % third)


def test_command_workers_are_dealt_to_the_listeners(daemon, apps):
    """An exec'd worker has one listener on fd 0; several addresses share the workers."""
    port = free_port()
    daemon.write(daemon.pool(listen="%s 127.0.0.1:%d" % (daemon.sock, port), workers=2,
                             command=apps + "/plain"))
    daemon.start()
    for _ in range(2):
        pids = {fcgi.body_of(fcgi.get(a)).split()[0] for a in (daemon.sock, "127.0.0.1:%d" % port)}
        assert len(pids) == 2
        for pid in pids:
            os.kill(int(pid), 9)
        wait_for(lambda: len(daemon.workers()) == 2 and not set(daemon.workers()) & set(map(int, pids)))


@pytest.mark.quick
def test_mode_of_a_unix_socket(daemon):
    for mode, expected in (("0600", 0o600), ("0660", 0o660), ("0666", 0o666)):
        daemon.write(daemon.pool(listen=daemon.sock, listen_mode=mode))
        old = os.umask(0o077)  # must not matter
        try:
            daemon.start()
        finally:
            os.umask(old)
        assert stat.S_IMODE(os.stat(daemon.sock).st_mode) == expected
        daemon.end()


@pytest.mark.root
def test_owner_and_group_of_a_unix_socket(daemon):
    """Right from bind: the program does not even know of chown and chmod."""
    user, group = "daemon", "mail"
    daemon.write(daemon.pool(listen=daemon.sock, listen_owner=user, listen_group=group,
                             listen_mode="0640"))
    daemon.start()
    st = os.stat(daemon.sock)
    assert (st.st_uid, st.st_gid) == (pwd.getpwnam(user).pw_uid, grp.getgrnam(group).gr_gid)
    assert stat.S_IMODE(st.st_mode) == 0o640
    symbols = subprocess.run(["nm", "-D", BINARY], capture_output=True, text=True, check=True).stdout
    for name in ("bind", "chown", "fchown", "fchownat", "lchown", "chmod", "fchmodat"):
        assert (" U %s@" % name in symbols) == (name == "bind")


@pytest.mark.root
def test_owner_cannot_bind_where_only_root_may_write(daemon):
    """The directory need not be the owner's: only the socket becomes his."""
    daemon.write(daemon.pool(listen=daemon.sock, listen_owner="daemon"))
    os.chmod(daemon.dir, 0o700)
    daemon.start()
    assert os.stat(daemon.sock).st_uid == pwd.getpwnam("daemon").pw_uid
    os.chmod(daemon.dir, 0o755)


@pytest.mark.quick
def test_stale_socket_is_replaced(daemon):
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(daemon.sock)
        s.listen()
    daemon.write(daemon.pool())
    daemon.start()
    assert serves(daemon.sock)


@pytest.mark.quick
def test_live_socket_is_never_stolen(daemon):
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(daemon.sock)
        s.listen()
        before = os.stat(daemon.sock).st_ino
        daemon.write(daemon.pool())
        refuses(daemon, 69, "it is in use")
        assert os.stat(daemon.sock).st_ino == before
        with socket.socket(socket.AF_UNIX) as c:
            c.connect(daemon.sock)
    os.unlink(daemon.sock)


def test_live_socket_with_a_full_backlog_is_not_stolen(daemon):
    with socket.socket(socket.AF_UNIX) as s, socket.socket(socket.AF_UNIX) as c:
        s.bind(daemon.sock)
        s.listen(0)
        c.connect(daemon.sock)
        daemon.write(daemon.pool())
        refuses(daemon, 69, "it is in use")
        assert os.path.exists(daemon.sock)
    os.unlink(daemon.sock)


@pytest.mark.quick
def test_anything_else_at_the_path_is_left_alone(daemon):
    target = os.path.join(daemon.dir, "target")
    daemon.write(daemon.pool())
    with open(daemon.sock, "w", encoding="utf-8") as f:
        f.write("precious")
    refuses(daemon, 73, "something that is no socket")
    assert read(daemon.sock) == "precious"
    os.unlink(daemon.sock)
    os.symlink(target, daemon.sock)
    refuses(daemon, 73, "something that is no socket")
    assert os.readlink(daemon.sock) == target and not os.path.exists(target)
    os.unlink(daemon.sock)
    os.mkdir(daemon.sock)
    refuses(daemon, 73, "something that is no socket")
    os.rmdir(daemon.sock)


def test_two_starts_over_one_stale_socket(daemon):
    """Masters that race for one path: exactly one has it, and its clients are served."""
    for round_ in range(10):
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(daemon.sock)
        processes = [subprocess.Popen([BINARY, "-F", "-l", daemon.sock, "-n", "1"],
                                      stderr=subprocess.PIPE, env=daemon.environment())
                     for _ in range(3)]
        wait_for(lambda: sum(p.poll() is not None for p in processes) == 2, why="two losers")
        assert sorted(p.poll() for p in processes if p.poll() is not None) == [69, 69], round_
        assert serves(daemon.sock)
        for p in processes:
            p.terminate()
            p.wait(timeout=20)
            p.stderr.close()
        assert not os.path.exists(daemon.sock)


@pytest.mark.quick
def test_socket_that_somebody_replaced_stays(daemon):
    """At the end only the socket that we made is removed."""
    daemon.write(daemon.pool())
    daemon.start()
    os.unlink(daemon.sock)
    with open(daemon.sock, "w", encoding="utf-8") as f:
        f.write("precious")
    daemon.end()
    assert read(daemon.sock) == "precious"
    os.unlink(daemon.sock)


def handed_in(daemon, sockets, names, *args):
    """Starts preforkd as systemd would, with listening sockets from fd 3."""
    fds = [str(s.fileno()) for s in sockets]
    with open(daemon.log, "a", encoding="utf-8") as log:
        daemon.process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, str(len(fds)), *fds, ":".join(names), BINARY, *args],
            pass_fds=[s.fileno() for s in sockets], stderr=log, env=daemon.environment())
    daemon.pid = daemon.process.pid


def test_sockets_from_systemd(daemon):
    """By name and by address; the sockets stay when preforkd goes: they are not its own."""
    with socket.socket() as tcp, socket.socket(socket.AF_UNIX) as unix:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        unix.bind(daemon.sock)
        unix.listen()
        port = tcp.getsockname()[1]
        daemon.write(daemon.pool("one", listen="fd:web"), daemon.pool("two", listen=daemon.sock))
        for _ in range(2):  # what was handed in once can be handed in again
            handed_in(daemon, [tcp, unix], ["web", "other"], "-F", "-c", daemon.conf)
            wait_for(lambda: "serving with 8 workers" in daemon.read_log())
            assert fcgi.number("127.0.0.1:%d" % port) == 1
            assert fcgi.number(daemon.sock) == 1
            assert daemon.reload() == "ok"
            assert fcgi.number("127.0.0.1:%d" % port) == 2
            os.truncate(daemon.log, 0)
            daemon.end()
            assert os.path.exists(daemon.sock)
    os.unlink(daemon.sock)


def test_socket_from_systemd_that_is_shut_down_costs_nothing(daemon):
    """It cannot be opened anew, and is ready for ever: the master does not listen to that."""
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(daemon.sock)
        unix.listen()
        daemon.write(daemon.pool(listen="fd:web", command=APPS + "/plain", workers="1..2"))
        handed_in(daemon, [unix], ["web"], "-F", "-c", daemon.conf)
        daemon.wait_log("serving with")
        unix.shutdown(socket.SHUT_RDWR)
        daemon.wait_log("cannot be opened anew")

        def at_rest():
            """ns on the processor, in a second and a half: the back-off stays below 5 s."""
            before = int(read("/proc/%d/schedstat" % daemon.pid).split()[0])
            time.sleep(1.5)
            return int(read("/proc/%d/schedstat" % daemon.pid).split()[0]) - before < 3e8
        wait_for(at_rest)
        daemon.end()
    os.unlink(daemon.sock)


def test_sockets_from_systemd_that_are_missing_or_wrong(daemon):
    daemon.write(daemon.pool(listen="fd:web"))
    refuses(daemon, 69, 'no socket named "web"')
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))  # does not listen
        handed_in(daemon, [s], ["web"], "-F", "-c", daemon.conf)
        assert daemon.process.wait(timeout=20) == 64
        assert "is not a listening stream socket" in daemon.read_log()


def test_sockets_for_another_process_are_not_taken(daemon):
    daemon.write(daemon.pool(listen="fd:web"))
    done = daemon.run("-F", "-c", daemon.conf, env={"LISTEN_FDS": "1", "LISTEN_PID": "1",
                                                    "LISTEN_FDNAMES": "web"})
    assert done.returncode == 69


@pytest.mark.quick
@pytest.mark.root  # not every kernel wants that
@pytest.mark.parametrize("kind", ["counter", "command"])
def test_allow_is_enforced_by_the_kernel(daemon, apps, kind):
    """Others never get a connection, whatever the program; and no worker can take the filter off."""
    port = free_port()
    run = {"app": "counter"} if kind == "counter" else {"command": apps + "/plain"}
    daemon.write(daemon.pool(listen="*:%d" % port, allow="127.0.0.2 127.0.1.0/24 ::1", **run))
    daemon.start()
    address = "127.0.0.1:%d" % port
    for source in ("127.0.0.2", "127.0.1.77"):
        assert fcgi.get(address, source=source)
    if has_ipv6():
        assert fcgi.get("[::1]:%d" % port)
    for source in ("127.0.0.1", "127.0.0.3", "127.0.2.1"):
        with pytest.raises(OSError):
            fcgi.connect(address, timeout=0.3, source=source)
    assert fcgi.get(address, source="127.0.0.2")


@pytest.mark.root
def test_allow_with_many_networks(daemon):
    """As many as there may be, of the long kind, and one more."""
    port = free_port()
    nets = " ".join("2001:db8::%x" % i for i in range(127))
    daemon.write(daemon.pool(listen="127.0.0.1:%d" % port, allow=nets + " 127.0.0.2"))
    daemon.start()
    assert fcgi.get("127.0.0.1:%d" % port, source="127.0.0.2")
    with pytest.raises(OSError):
        fcgi.connect("127.0.0.1:%d" % port, timeout=0.3)
    daemon.end()
    daemon.write(daemon.pool(listen="127.0.0.1:%d" % port, allow=nets + " 127.0.0.1 127.0.0.2"))
    refuses(daemon, 78, "allow: 129 networks are too many: at most 128")


@pytest.mark.root
def test_allow_on_a_socket_that_is_handed_in_again(daemon):
    """It keeps the list of the master before: the same list is fine, another is refused."""
    with socket.socket() as tcp:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        address = "127.0.0.1:%d" % tcp.getsockname()[1]
        for _ in range(2):
            daemon.write(daemon.pool(listen="fd:web", allow="127.0.0.2 ::1"))
            handed_in(daemon, [tcp], ["web"], "-F", "-c", daemon.conf)
            daemon.wait_log("serving with 4 workers")
            assert fcgi.get(address, source="127.0.0.2")
            with pytest.raises(OSError):
                fcgi.connect(address, timeout=0.3)
            os.truncate(daemon.log, 0)
            daemon.end()
        daemon.write(daemon.pool(listen="fd:web", allow="127.0.0.3"))
        handed_in(daemon, [tcp], ["web"], "-F", "-c", daemon.conf)
        assert daemon.process.wait(timeout=20) == 77
        assert "has another list" in daemon.read_log()


def test_too_many_addresses(daemon):
    daemon.write(daemon.pool(listen=" ".join("@preforkd-%d-%d" % (os.getpid(), i) for i in range(65))))
    refuses(daemon, 78, "listen: 65 addresses are too many: at most 64")
    daemon.write(daemon.pool(listen=" ".join("@preforkd-%d-%d" % (os.getpid(), i) for i in range(64))))
    daemon.start()
    for i in range(64):
        assert serves("@preforkd-%d-%d" % (os.getpid(), i))


def test_backlog(daemon):
    """listen-backlog connections wait while the only worker is busy, and all are served."""
    port = free_port()
    daemon.write(daemon.pool(listen="127.0.0.1:%d" % port, workers=1, listen_backlog=100))
    daemon.start()
    backlog = subprocess.run(["ss", "-Hltn", "sport = :%d" % port], capture_output=True, text=True,
                             check=True).stdout.split()[2]
    assert backlog == "100"
    seen = []
    threads = [threading.Thread(target=lambda: seen.append(fcgi.number("127.0.0.1:%d" % port)))
               for _ in range(90)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(seen) == list(range(1, 91))


def test_addresses_change_at_a_reload(daemon):
    """A new address is served, an old one is closed, one that stays loses nothing."""
    ports = [free_port() for _ in range(3)]
    at = ["127.0.0.1:%d" % p for p in ports]
    daemon.write(daemon.pool(listen=" ".join(at[:2])))
    daemon.start()
    assert serves(at[0]) and serves(at[1])
    daemon.write(daemon.pool(listen=" ".join(at[1:])))
    assert daemon.reload() == "ok"
    assert serves(at[1]) and serves(at[2])

    def is_closed():
        try:
            fcgi.connect(at[0]).close()
            return False
        except OSError:
            return True
    wait_for(is_closed)


def test_privileged_port_without_privilege(daemon):
    if IS_ROOT or int(read("/proc/sys/net/ipv4/ip_unprivileged_port_start", "1024")) <= 79:
        pytest.skip("needs an ordinary user")
    daemon.write(daemon.pool(listen="127.0.0.1:79"))
    refuses(daemon, 77, "ermission denied")
