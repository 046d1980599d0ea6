"""Broken configurations: one line for each mistake, with its place; the right code; nothing started."""

import os

import pytest

from daemon import IS_ROOT

POOL = "[pool www]\nlisten = {dir}/www.sock\napp = counter\n"

# what stands in the file; the exit code; a beginning of each line on stderr (behind the file's name)
BROKEN = {
    "unknown key": (POOL + "wokers = 4\n", 78, [':4: unknown key "wokers": did you mean "workers"?']),
    "bad number": (POOL + "workers = four\n", 78, [":4: workers: "]),
    "number out of range": (POOL + "workers = 0\n", 78, [":4: workers: 0 is out of range"]),
    "duplicate pool": (POOL + POOL, 78, [":4: [pool www] is given twice"]),
    "duplicate key": (POOL + "nice = 1\nnice = 2\n", 78, [':5: key "nice" is given twice']),
    "missing program": ("[pool www]\nlisten = *:1\ncommand = /nonexistent/x\n", 69,
                        [":3: pool www: cannot run /nonexistent/x"]),
    "program not executable": ("[pool www]\nlisten = *:1\ncommand = /etc/passwd\n", 69,
                               [":3: pool www: cannot run /etc/passwd"]),
    "unknown user": (POOL + "user = no-such-user\n", 77, [':4: pool www: there is no user "no-such-user"']),
    "unknown group": (POOL + "group = no-such-group\n", 77, [':4: pool www: there is no group "no-such-group"']),
    "unknown owner": (POOL + "listen-owner = no-such-user\n", 77, [':4: pool www: there is no user']),
    "no listen": ("[pool www]\napp = counter\n", 78, [":1: [pool www] has no address"]),
    "nothing to run": ("[pool www]\nlisten = *:1\n", 78, [":1: [pool www] runs nothing"]),
    "two kinds": (POOL + "command = /bin/true\n", 78, [":4: command: app is given in line 3"]),
    "bad address": ("[pool www]\nlisten = 127.0.0.1:http\napp = counter\n", 78, [":2: listen: "]),
    "relative socket": ("[pool www]\nlisten = run/x.sock\napp = counter\n", 78, [":2: listen: "]),
    "address twice": ("[pool a]\nlisten = *:1\napp = counter\n[pool b]\nlisten = *:1\napp = counter\n",
                      78, [":5: listen: *:1 belongs to [pool a] already"]),
    "unknown section": (POOL + "[www]\n", 78, [":4: unknown section [www]"]),
    "no pool": ("[preforkd]\nlog = stderr\n", 78, [": there is no pool"]),
    "empty file": ("", 78, [": there is no pool"]),
    "NUL bytes": (POOL + "env.A = x\0y\n", 78, [":4: NUL byte"]),
    "not UTF-8": (POOL + "env.A = \udcff\n", 78, [":4: the line is not UTF-8"]),
    "junk": (POOL + "junk\n", 78, [":4: the line is neither"]),
    "open quote": (POOL + "env.A = \"x\n", 78, [":4: env.A: a quote"]),
    "bad network": (POOL + "allow = 10.0.0.1/33\n", 78, [":4: allow: "]),
    "missing directory": (POOL + "directory = /nonexistent\n", 69, [":4: "]),
    "missing module": ("[pool www]\nlisten = *:1\nmodule = /nonexistent.so\n", 69, [":3: "]),
    "bad signal": (POOL + "stop-signal = NOPE\n", 78, [":4: stop-signal: "]),
    "bad log level": ("[preforkd]\nlog-level = loud\n" + POOL, 78, [":2: log-level: "]),
    "relative pidfile": ("[preforkd]\npid-file = x.pid\n" + POOL, 78, [":2: pid-file: "]),
    "everything at once": ("[preforkd]\nlgo = x\n" + POOL + "workers = x\nnice = 99\njunk\n", 78,
                           [":2: ", ":6: ", ":7: ", ":8: "]),
}


@pytest.mark.quick
@pytest.mark.parametrize("what", BROKEN)
def test_broken(daemon, what):
    text, code, lines = BROKEN[what]
    if code == 77 and not IS_ROOT:
        pytest.skip("an ordinary user may not name others at all, and is told that")
    text = text.replace("{dir}", daemon.dir)
    if code != 78:  # what is looked for on the machine: the default log is, too
        text += "[preforkd]\nlog = stderr\n"
    with open(daemon.conf, "w", encoding="utf-8", errors="surrogateescape") as f:
        f.write(text)
    os.chmod(daemon.conf, 0o644)
    for option in ("-t", "-T", "-F"):
        done = daemon.run(option, "-c", daemon.conf)
        got = done.stderr.splitlines()
        assert done.returncode == code, (option, done)
        assert len(got) == len(lines), done.stderr
        for line, begin in zip(got, lines):
            assert line.startswith("preforkd: " + daemon.conf + begin), line
        assert done.stdout == "" or option == "-T"
    daemon.check_nothing_left()


@pytest.mark.root
def test_unreadable_and_foreign_files(daemon):
    with open(daemon.conf, "w", encoding="utf-8") as f:
        f.write(POOL.replace("{dir}", daemon.dir))
    for change, words in ((lambda: os.chmod(daemon.conf, 0o666), "can be written by"),
                          (lambda: (os.chmod(daemon.conf, 0o644), os.chown(daemon.conf, 65534, 0)),
                           "must belong to root"),
                          (lambda: (os.unlink(daemon.conf), os.mkdir(daemon.conf)),
                           "is not a regular file")):
        change()
        done = daemon.run("-t", "-c", daemon.conf)
        assert done.returncode == 78 and words in done.stderr, done.stderr
    os.rmdir(daemon.conf)


def test_unreadable_file(daemon):
    if IS_ROOT:
        pytest.skip("root reads everything")
    with open(daemon.conf, "w", encoding="utf-8") as f:
        f.write(POOL)
    os.chmod(daemon.conf, 0)
    done = daemon.run("-t", "-c", daemon.conf)
    assert done.returncode == 78 and "cannot be read: Permission denied" in done.stderr


@pytest.mark.quick
def test_mistakes_in_included_files_name_that_file(daemon):
    os.mkdir(daemon.dir + "/pools.d")
    with open(daemon.dir + "/pools.d/a.conf", "w", encoding="utf-8") as f:
        f.write("[pool a]\nlisten = *:1\napp = conter\n")
    daemon.write(daemon.pool(), include=daemon.dir + "/pools.d/*.conf")
    done = daemon.run("-t", "-c", daemon.conf)
    assert done.returncode == 78
    assert done.stderr == ('preforkd: %s/pools.d/a.conf:3: app: unknown application "conter": did you '
                           'mean "counter"?\n' % daemon.dir)


@pytest.mark.quick
@pytest.mark.parametrize("args,words", [
    (["-l", "9000"], "-l 9000: "),
    (["-l", "127.0.0.1:1", "-n", "x"], "-n x: "),
    (["-l", "127.0.0.1:1", "-u", "a:b:c"], "-u "),
    (["-l", "127.0.0.1:1", "/bin/cat"], "behind --"),
    (["-l", "127.0.0.1:1", "-p", "x\ny"], "-p: "),
    (["-Z"], "usage:"),
    (["-l"], "usage:"),
])
def test_bad_options(daemon, args, words):
    done = daemon.run("-F", *args, cwd=daemon.dir)
    assert done.returncode == 64 and words in done.stderr, done
    assert "\ny" not in done.stderr
