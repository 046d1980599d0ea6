"""Starting: exit codes, one sentence on stderr, and nothing left behind when it fails."""

import os
import signal
import socket
import stat
import subprocess

import pytest

import fcgi
from daemon import (BINARY, Daemon, IS_ROOT, alive, children, free_port, often, processes_of, read, status, title,
                    wait_for)


def fails(daemon, code, sentence, *args, **kw):
    done = daemon.run(*(args or ("-c", daemon.conf)), **kw)
    assert done.returncode == code, (done.returncode, done.stderr)
    assert sentence in done.stderr, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    daemon.check_nothing_left()


@pytest.mark.quick
def test_daemon_is_detached_and_ready(daemon):
    """When the command returns, every worker waits for connections."""
    daemon.write(daemon.pool(workers=3))
    daemon.start()
    assert len(daemon.workers("www")) == 3
    assert title(daemon.pid) == "preforkd: master " + daemon.conf
    assert [title(p) for p in sorted(daemon.workers())] == \
        ["preforkd: www worker %d idle" % i for i in (1, 2, 3)]
    assert os.readlink("/proc/%d/cwd" % daemon.pid) == "/"
    assert os.getsid(daemon.pid) == daemon.pid
    for fd in range(3):
        assert os.readlink("/proc/%d/fd/%d" % (daemon.pid, fd)) == "/dev/null"
    assert stat.S_IMODE(os.stat(daemon.pidfile).st_mode) == 0o600
    assert fcgi.number(daemon.sock) == 1


@pytest.mark.quick
def test_foreground_logs_to_stderr_and_stays(daemon):
    daemon.write(daemon.pool(), log="/nonexistent/is-not-used-with-F")
    daemon.start_foreground()
    assert fcgi.number(daemon.sock) == 1
    assert daemon.end() == 0
    assert "stopped" in daemon.read_log()


@pytest.mark.quick
def test_exit_codes(daemon):
    good = daemon.pool()
    assert daemon.run("-x").returncode == 64
    assert daemon.run("-c", daemon.conf, "program").returncode == 64
    fails(daemon, 78, "No such file", "-c", daemon.dir + "/missing.conf")
    daemon.write(good, pid_file=daemon.dir + "/none/preforkd.pid")
    fails(daemon, 73, "cannot create pidfile")
    daemon.write(good, log=daemon.dir + "/none/log")
    fails(daemon, 73, "cannot open")
    daemon.write(daemon.pool(listen=daemon.dir + "/none/www.sock"))
    fails(daemon, 73, "cannot")
    daemon.write(daemon.pool(command="/nonexistent/program"))
    fails(daemon, 69, "cannot run /nonexistent/program")
    daemon.write(daemon.pool(command="/bin/false"))
    fails(daemon, 69, "exited with code 1 before it was ready")
    daemon.write(daemon.pool(user="no-such-user"))
    fails(daemon, 77, 'there is no user "no-such-user"')
    daemon.write(daemon.pool(workers="many"))
    fails(daemon, 78, "preforkd.conf:9")


@pytest.mark.quick
def test_address_in_use_is_69_and_harms_nothing(daemon):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        daemon.write(daemon.pool(listen="%s 127.0.0.1:%d" % (daemon.sock, s.getsockname()[1])))
        fails(daemon, 69, "it is in use")


def test_second_of_two_pools_fails(daemon):
    """The pool that could start is stopped again: all or nothing."""
    daemon.write(daemon.pool("good"), daemon.pool("bad", listen=daemon.dir + "/bad.sock",
                                                  command="/bin/false"))
    fails(daemon, 69, "pool bad: worker")


def test_module_failures_say_why(daemon, apps):
    for module, sentence in ((apps + "/module_other_abi", "is built for ABI 3, this is ABI 2"),
                             (apps + "/module_no_role", "declares roles that there are not: 0x8"),
                             (apps + "/hello.php", "cannot load"),
                             (apps + "/module_echo fail", "start of application echo returned 3")):
        daemon.write(daemon.pool(module=module))
        fails(daemon, 69, sentence)


@pytest.mark.quick
def test_already_running(daemon):
    daemon.write(daemon.pool())
    daemon.start()
    done = daemon.run("-c", daemon.conf)
    assert done.returncode == 75
    assert done.stderr == "preforkd: already running, pid %d\n" % daemon.pid
    assert fcgi.number(daemon.sock) == 1


def test_started_twice_at_once(daemon):
    """Exactly one lives, the other exits 75 and harms nothing."""
    daemon.write(daemon.pool(workers=1))
    for _ in range(often(10, 100)):
        both = [subprocess.Popen([BINARY, "-c", daemon.conf], stderr=subprocess.PIPE, text=True,
                                 env=daemon.environment()) for _ in range(2)]
        results = sorted((p.wait(timeout=30), p.communicate()[1]) for p in both)
        assert [code for code, _ in results] == [0, 75], results
        daemon.pid = int(read(daemon.pidfile))
        fcgi.number(daemon.sock)
        daemon.end()
    daemon.check_nothing_left()


@pytest.mark.quick
def test_options_alone_make_a_pool(daemon):
    """spawn-fcgi's way: no file, no pidfile."""
    daemon.start_foreground("-l", daemon.sock, "-n", "2")
    assert len(daemon.workers("main")) == 2
    assert fcgi.number(daemon.sock) == 1
    assert not os.path.exists(daemon.pidfile)


def test_options_and_file_exclude_each_other(daemon):
    daemon.write(daemon.pool())
    for extra in (["-l", "127.0.0.1:1"], ["-n", "3"], ["--", "/bin/cat"]):
        assert daemon.run("-c", daemon.conf, *extra).returncode == 64


@pytest.mark.quick
def test_check_only(daemon):
    """-t starts nothing, and says what a start would say."""
    daemon.write(daemon.pool())
    done = daemon.run("-t", "-c", daemon.conf)
    assert done.returncode == 0 and "is fine" in done.stderr
    daemon.check_nothing_left()
    daemon.start()
    assert daemon.run("-t", "-c", daemon.conf).returncode == 0  # the addresses are ours
    assert fcgi.number(daemon.sock) == 1
    daemon.end()
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(daemon.sock)
        s.listen()
        done = daemon.run("-t", "-c", daemon.conf)
        assert done.returncode == 69 and "it is in use" in done.stderr
    os.unlink(daemon.sock)


@pytest.mark.quick
def test_check_says_what_a_start_would(daemon):
    """Sockets that cannot be made, too: a restart must not stop what then cannot start."""
    with open(daemon.dir + "/file.sock", "w", encoding="utf-8") as f:
        f.write("x")
    for listen, code, words in (
            (daemon.dir + "/none/x.sock", 73, "cannot open the directory"),
            (daemon.dir + "/file.sock", 73, "something that is no socket stands there"),
            ("192.0.2.1:9000", 73, "annot assign requested address")):
        daemon.write(daemon.pool(listen=listen))
        for option in ("-t", "-F"):
            done = daemon.run(option, "-c", daemon.conf)
            assert done.returncode == code and words in done.stderr, (option, done)
        assert "%s:7: listen: " % daemon.conf in daemon.run("-t", "-c", daemon.conf).stderr
    os.unlink(daemon.dir + "/file.sock")
    daemon.write(daemon.pool())
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(daemon.sock)
    inode = os.stat(daemon.sock).st_ino
    assert daemon.run("-t", "-c", daemon.conf).returncode == 0  # stale: it would be replaced
    assert os.stat(daemon.sock).st_ino == inode
    os.unlink(daemon.sock)


@pytest.mark.quick
def test_empty_pidfile_is_none(daemon):
    daemon.write(daemon.pool())
    daemon.start_foreground("-c", daemon.conf, "-p", "")
    assert fcgi.number(daemon.sock) == 1
    assert not os.path.exists(daemon.pidfile)


@pytest.mark.quick
def test_no_program_behind_the_dashes(daemon):
    done = daemon.run("-F", "-l", daemon.sock, "--")
    assert done.returncode == 64 and "no program stands behind --" in done.stderr


@pytest.mark.quick
def test_messages_are_escaped(daemon):
    daemon.write(daemon.pool(command="/nonexistent/\x1b[31m"))
    done = daemon.run("-t", "-c", daemon.conf)
    assert "\x1b" not in done.stderr and "cannot run /nonexistent/" in done.stderr


@pytest.mark.quick
def test_print_parses_back_to_the_same(daemon):
    daemon.write(daemon.pool(workers=3, env_A='"x ; y"'),
                 daemon.pool("two", listen="127.0.0.1:%d" % free_port(), command="/bin/sh -c 'a \"b\" ; c'"))
    first = daemon.run("-T", "-c", daemon.conf)
    assert first.returncode == 0, first.stderr
    with open(daemon.conf, "w", encoding="utf-8") as f:
        f.write(first.stdout)
    assert daemon.run("-T", "-c", daemon.conf).stdout == first.stdout
    assert "workers = 3\n" in first.stdout


@pytest.mark.quick
def test_version(daemon):
    assert daemon.run("-V").stdout.startswith("preforkd ")


def test_pidfile_is_not_followed_or_shared(daemon):
    victim = os.path.join(daemon.dir, "victim")
    with open(victim, "w", encoding="utf-8") as f:
        f.write("precious")
    daemon.write(daemon.pool())
    os.symlink(victim, daemon.pidfile)
    assert "symbolic link" in daemon.run("-c", daemon.conf).stderr
    os.unlink(daemon.pidfile)
    os.link(victim, daemon.pidfile)
    assert "more than one link" in daemon.run("-c", daemon.conf).stderr
    os.unlink(daemon.pidfile)
    os.mkfifo(daemon.pidfile)
    assert "not a regular file" in daemon.run("-c", daemon.conf).stderr
    os.unlink(daemon.pidfile)
    os.chmod(daemon.dir, 0o777)
    assert "others may write" in daemon.run("-c", daemon.conf).stderr
    os.chmod(daemon.dir, 0o755)
    assert read(victim) == "precious"


@pytest.mark.root
def test_pidfile_of_another_user_is_refused(daemon):
    daemon.write(daemon.pool())
    with open(daemon.pidfile, "w", encoding="utf-8"):
        pass
    os.chown(daemon.pidfile, 65534, 65534)
    done = daemon.run("-c", daemon.conf)
    assert done.returncode == 73 and "belongs to another user" in done.stderr
    os.unlink(daemon.pidfile)


def test_stopped_while_starting(daemon):
    """TERM before the pool is ready: the command fails, and nothing stays."""
    daemon.write(daemon.pool(command="/bin/sleep 1000", start_timeout="60s"))
    p = subprocess.Popen([BINARY, "-F", "-c", daemon.conf], stderr=subprocess.PIPE, text=True,
                         env=daemon.environment())
    wait_for(lambda: any("sleep 1000" in title(c) for c in children(p.pid)))
    p.send_signal(signal.SIGTERM)
    assert p.wait(timeout=20) == 69
    p.stderr.close()
    daemon.check_nothing_left()


@pytest.mark.root
def test_as_pid_one(daemon, apps):
    """In a container it is pid 1: it reaps what it has not forked, and TERM stops it."""
    daemon.write(daemon.pool(command="/bin/sh -c '( (sleep 0.1; exit 3) & ); exec %s/plain'" % apps))
    with open(daemon.log, "w", encoding="utf-8") as log:
        p = subprocess.Popen(["unshare", "-pfm", "--propagation", "unchanged", "--kill-child", "sh",
                              "-c", "mount --make-private /proc && mount -t proc proc /proc && "
                              "exec \"$@\"", "sh", BINARY, "-F", "-c", daemon.conf],
                             stderr=log, env=daemon.environment())
    daemon.wait_log("serving with 4 workers")
    daemon.wait_log("which is none of ours")
    master = [c for c in processes_of(daemon.dir) if title(c).startswith("preforkd: master")][0]
    assert status(master, "NSpid").split()[-1] == "1"
    assert fcgi.get(daemon.sock)
    wait_for(lambda: not [c for c in read("/proc/%d/task/%d/children" % (master, master)).split()
                          if not alive(int(c))], why="the dead to be reaped")
    os.kill(master, signal.SIGTERM)
    assert p.wait(timeout=20) == 0
    daemon.check_nothing_left()


def test_a_killed_start_command_leaves_a_daemon_that_serves(daemon):
    """Whoever waits for the start may lose patience: that does not end the daemon."""
    daemon.write(daemon.pool(workers=2))
    p = subprocess.Popen([BINARY, "-c", daemon.conf], env=daemon.environment())
    p.kill()
    p.wait()
    if wait_for(lambda: read(daemon.pidfile) or not processes_of(daemon.dir)) is not True:
        daemon.pid = int(read(daemon.pidfile))
        wait_for(lambda: daemon.workers("www") == [] or fcgi.number(daemon.sock))


def test_daemons_do_not_meet(daemon):
    """Two masters with configurations of their own live side by side."""
    with Daemon("other") as other:
        for d in (daemon, other):
            d.write(d.pool())
            d.start()
        assert fcgi.number(daemon.sock) == 1
        other.end()
        assert fcgi.number(daemon.sock) == 2
