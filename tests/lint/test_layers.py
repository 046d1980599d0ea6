#!/usr/bin/env python3
"""Breaks every rule of layers.py once, in a tiny tree, and sees that it is found."""

import os
import subprocess
import sys
import tempfile

import layers

GOOD = {
    "src/common/log.h": "void log_say(const char *text);\n",
    "src/common/log.c": '#include "common/log.h"\n#include <stdio.h>\n\n'
                        "static int level = 1;\n\nvoid log_say(const char *text)\n{\n"
                        "\tif (level > 0)\n\t\tputs(text);\n}\n",
    "src/master/life.h": "int life_step(int state);\n",
    "src/master/life.c": '#include "master/life.h"\n#include <string.h>\n\n'
                         "static const char *const names[] = { \"a\" };\n\n"
                         "int life_step(int state)\n{\n\treturn state + (int)strlen(names[0]);\n}\n",
    "src/master/pool.h": "void pool_open(void (*body)(void));\n",
    "src/master/pool.c": '#include "master/pool.h"\n#include "common/log.h"\n'
                         '#include "master/life.h"\n\n'
                         "void pool_open(void (*body)(void))\n{\n"
                         "\tlog_say(\"open\");\n\tif (life_step(1) > 0)\n\t\tbody();\n}\n",
    "src/worker/app.h": '#include "preforkd_app.h"\nextern const struct app app;\n',
    "src/worker/app.c": '#include "worker/app.h"\n\nstatic void run(void)\n{\n}\n\n'
                        "const struct app app = { run };\n",
    "src/worker/worker.h": "void worker_main(void);\n",
    "src/worker/worker.c": '#include "worker/worker.h"\n#include <stdlib.h>\n'
                           '#include "worker/app.h"\n\n'
                           "void worker_main(void)\n{\n\tapp.run();\n\texit(0);\n}\n",
    "src/gate/gate.h": "void gate_main(void);\n",
    "src/gate/gate.c": '#include "gate/gate.h"\n#include "common/log.h"\n\n'
                       "void gate_main(void)\n{\n\tlog_say(\"gate\");\n}\n",
    "src/ctl/wire.h": "void wire_ask(void);\n",
    "src/ctl/wire.c": '#include "ctl/wire.h"\n#include "common/log.h"\n\n'
                      "void wire_ask(void)\n{\n\tlog_say(\"ctl\");\n}\n",
    "src/preforkd_app.h": "#pragma once\nstruct app {\n\tvoid (*run)(void);\n};\n",
    "src/preforkd.c": '#include <stdlib.h>\n#include "gate/gate.h"\n#include "master/pool.h"\n'
                      '#include "worker/worker.h"\n\n'
                      "int main(void)\n{\n\tgate_main();\n\tpool_open(worker_main);\n\texit(0);\n}\n",
    "src/preforkctl.c": '#include "ctl/wire.h"\n\nint main(void)\n{\n\twire_ask();\n}\n',
    "tests/unit/test_life.c": "int main(void)\n{\n\treturn life_step(-1);\n}\n",
}

DEEP = ("\tif (a)\n\t\tfor (;;)\n\t\t\twhile (a) {\n\t\t\t\tswitch (a) {\n\t\t\t\tcase 1:\n"
        "\t\t\t\t\treturn 1;\n\t\t\t\tdefault:\n\t\t\t\t\ta--;\n\t\t\t\t}\n\t\t\t}\n")
FLAT = "".join("\t%sif (a == %d) {\n\t\ta++;\n\t}\n" % ("else " if i else "", i)
               for i in range(9)).replace("}\n\telse", "} else")


def function(body, name="test"):
    return "static int %s(int a)\n{\n%s\treturn a;\n}\nint life_x = sizeof(%s(1));\n" % (
        name, body, name)


# (rule, words of the finding, file, text that is added; or a function of the text). rule None: the
# change is allowed and nothing may be found.
CASES = [
    (None, "", "src/common/log.c", "/* #include \"master/pool.h\" */\n"),
    (None, "", "src/preforkd.c", "static const char t[] = \"#include <fcgiapp.h>\";\n"),
    (None, "", "src/master/pool.c", lambda t: "/*\n#include <fcgiapp.h>\n*/\n" + t),
    ("layer", "may not include master/pool.h", "src/common/log.c", '#include "master/pool.h"\n'),
    ("layer", "may not include master/pool.h", "src/common/log.h", '#include "master/pool.h"\n'),
    ("layer", "may not include worker/worker.h", "src/master/pool.c", '#include "worker/worker.h"\n'),
    ("layer", "may not include master/life.h", "src/worker/app.c", '#  include "master/life.h"\n'),
    ("layer", "may not include gate/gate.h", "src/master/pool.c", '#include "gate/gate.h"\n'),
    ("layer", "may not include master/life.h", "src/gate/gate.c", '#include "master/life.h"\n'),
    ("layer", "may not include preforkd_app.h", "src/master/pool.c", '#include "preforkd_app.h"\n'),
    ("layer", "may not include gate/gate.h", "src/preforkctl.c", '#include "gate/gate.h"\n'),
    ("layer", "may not include gate/gate.h", "src/ctl/wire.c", '#include "gate/gate.h"\n'),
    ("layer", "may not include ctl/wire.h", "src/preforkd.c", '#include "ctl/wire.h"\n'),
    ("layer", "no folder of the house", "src/shed/shed.c", "static int a;\n"),
    ("include", "not given as FOLDER/NAME.h", "src/common/log.c", '#include "../common/log.h"\n'),
    ("include", "not given as FOLDER/NAME.h", "src/common/log.c", '#include "log.h"\n'),
    ("layer", "may not use worker_main of src/worker/worker.c", "src/master/pool.c",
     "void worker_main(void);\nstatic void f(void)\n{\n\tworker_main();\n}\n"
     "static void (*volatile g)(void) = f;\nvoid pool_g(void)\n{\n\tg();\n}\n"),
    ("layer", "may not use pool_open of src/master/pool.c", "src/common/log.c",
     "void pool_open(void (*)(void));\nvoid log_x(void)\n{\n\tpool_open(0);\n}\n"),
    ("layer", "may not use log_say of src/common/log.c", "src/preforkd_app.c",
     "void log_say(const char *);\nvoid preforkd_app(void)\n{\n\tlog_say(0);\n}\n"),
    ("cycle", "master/life -> master/pool (pool_open) -> master/life (life_step)",
     "src/master/life.c",
     "void pool_open(void (*)(void));\nint life_x(void)\n{\n\tpool_open(0);\n\treturn 0;\n}\n"),
    ("reserved", "libfcgi is for src/worker", "src/master/pool.c", "#include <fcgiapp.h>\n"),
    ("reserved", "HTTP is for src/gate", "src/master/pool.c", "#include <event2/http.h>\n"),
    ("reserved", "the client of HTTP is for src/ctl", "src/gate/gate.c", "#include <curl/curl.h>\n"),
    ("reserved", "the terminal is for src/ctl", "src/gate/gate.c", "#include <ncurses.h>\n"),
    ("reserved", "loading of objects is for src/worker", "src/common/log.c", "#include <dlfcn.h>\n"),
    ("reserved", "FCGX_Init: libfcgi", "src/preforkd.c",
     "int FCGX_Init(void);\nint preforkd(void)\n{\n\treturn FCGX_Init();\n}\n"),
    ("reserved", "dlopen: loading", "src/master/pool.c",
     "void *dlopen(const char *, int);\nvoid *pool_x(void)\n{\n\treturn dlopen(0, 0);\n}\n"),
    ("exit", "may not call exit", "src/master/pool.c",
     "#include <stdlib.h>\nvoid pool_x(void)\n{\n\texit(1);\n}\n"),
    ("exit", "may not call errx", "src/common/log.c",
     "#include <err.h>\nvoid log_x(void)\n{\n\terrx(1, \"x\");\n}\n"),
    ("pure", "with clock_gettime", "src/master/life.c",
     "int clock_gettime(int, void *);\nint life_x(void)\n{\n\treturn clock_gettime(1, 0);\n}\n"),
    ("pure", "with log_say", "src/master/life.c",
     "void log_say(const char *);\nvoid life_x(void)\n{\n\tlog_say(0);\n}\n"),
    ("pure", "with time.h", "src/master/life.h", "#include <time.h>\n"),
    ("pure", "with common/log.h", "src/master/life.c", '#include "common/log.h"\n'),
    ("pure", "machine instructions", "src/master/life.c",
     "void life_x(void)\n{\n\t__asm__(\"nop\");\n}\n"),
    ("global", "pool_count can be changed", "src/master/pool.c", "int pool_count;\n"),
    ("global", "pool_count can be changed", "src/master/pool.c", "int pool_count = 3;\n"),
    ("name", "open_pool does not begin with pool_", "src/master/pool.c",
     "void open_pool(void)\n{\n}\n"),
    ("name", "main is for src itself", "src/gate/gate.c", "int main(void)\n{\n}\n"),
    ("static", "no other file uses pool_x", "src/master/pool.c", "void pool_x(void)\n{\n}\n"),
    (None, "", "tests/unit/test_life.c", "/* nothing */\n"),
    ("object", "has not been compiled", "src/gate/gate.c", lambda text: text + "#error none\n"),
    ("size", "501 lines", "src/master/pool.c", lambda t: t + "\n" * (501 - t.count("\n"))),
    ("size", "101 columns", "src/master/pool.c", "/*" + "\t" * 12 + "123*/\n"),
    (None, "", "src/master/pool.c", "/*" + "\t" * 12 + "12*/\n"),
    ("size", "test has 61 lines", "src/master/pool.c", function("\n" * 57)),
    ("size", "nested 4 deep", "src/master/pool.c", function(DEEP)),
    ("size", "nested 4 deep", "src/master/pool.c",
     function(DEEP.replace("\tif (a)\n", "\tX(a)\n\tdo {\n") + "\t} while (0);\n")),
]
SIZE_OK = [function("\n" * 56), function(FLAT), function(DEEP.replace("\tif (a)\n", ""))]


def write(top, path, text):
    path = os.path.join(top, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)


def build(top, path):
    """Compiles one file; its object is gone when it does not compile."""
    if not path.startswith("src/") or not path.endswith(".c"):
        return
    out = os.path.join(top, "obj", path[len("src/"):-2] + ".o")
    os.makedirs(os.path.dirname(out), exist_ok=True)
    if os.path.exists(out):
        os.unlink(out)
    subprocess.run(["cc", "-w", "-fPIE", "-I" + top + "/src", "-c", "-o", out, top + "/" + path],
                   stderr=subprocess.DEVNULL, check=False, timeout=60)


def broken(top, path, change):
    """Findings of layers with one file changed, which is then put back."""
    good = GOOD.get(path)
    write(top, path, change(good) if callable(change) else (good or "") + change)
    build(top, path)
    found = layers.check(top, os.path.join(top, "obj"))
    if good is None:
        os.unlink(os.path.join(top, path))
        obj = os.path.join(top, "obj", path[len("src/"):-2] + ".o")
        if os.path.exists(obj):
            os.unlink(obj)
    else:
        write(top, path, good)
        build(top, path)
    return found


def main():
    wrong = []
    with tempfile.TemporaryDirectory() as top:
        for path, text in GOOD.items():
            write(top, path, text)
        for path in GOOD:
            build(top, path)
        found = layers.check(top, os.path.join(top, "obj"))
        if found:
            wrong.append("the good tree has findings: %s" % found)
        for rule, words, path, change in CASES:
            found = broken(top, path, change)
            hit = [f for f in found if f[2] == rule and words in f[3]]
            if rule is None and found or rule is not None and not hit:
                wrong.append("%s, %s: expected [%s] %s, found %s" %
                             (path, repr(change)[:60], rule, words, found))
        for text in SIZE_OK:
            found = [f for f in broken(top, "src/master/pool.c", text) if f[2] == "size"]
            if found:
                wrong.append("no reason for %s" % found)
        os.unlink(top + "/tests/unit/test_life.c")
        write(top, "src/master/life.c", GOOD["src/master/life.c"] +
              "int life_x(void)\n{\n\treturn 0;\n}\n")
        build(top, "src/master/life.c")
        write(top, "tests/unit/test_life.c", "/* life_x */\n")
        if not any(f[2] == "static" for f in layers.check(top, top + "/obj")):
            wrong.append("a comment in a test counts as use")
        write(top, "tests/unit/test_life.c", "int a = life_x();\n")
        if layers.check(top, top + "/obj"):
            wrong.append("a use in a unit test does not count")
    for line in wrong:
        print("tests/lint/test_layers.py: " + line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
