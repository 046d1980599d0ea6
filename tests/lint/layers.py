#!/usr/bin/env python3
"""Proves the rules of the house: who may call whom, what is pure, and how large things may grow.

    layers.py [--objects DIR] [TOP]

TOP is the source tree. The includes say what a file means to use, the symbols of its object what it
does use: DIR holds src/FOLDER/NAME.c compiled to FOLDER/NAME.o, best without optimization, so that
no reference is lost. Prints "file:line: [rule] sentence" for every finding; exit 1 if there is any.
"""

import argparse
import os
import re
import subprocess
import sys

FUNCTION_LINES = 60
FILE_LINES = 500
NESTING = 3
COLUMNS = 100
TAB = 8

# A folder is a process; calls go down only. "" is src itself.
MAY_USE = {
    "common": {"common"},
    "master": {"master", "common"},
    "worker": {"worker", "common"},
    "gate": {"gate", "common"},
    "ctl": {"ctl", "common"},
    "": {"master", "worker", "gate", "common"},
}
# Files of src itself that have a rule of their own.
MAY_USE_FILE = {
    "preforkctl": {"ctl", "common"},  # a client: none of the daemon's folders
    "preforkd_app": set(),            # installed alone, for modules
}
# Headers of src itself, and which folders may include them.
TOP_HEADERS = {"preforkd_app.h": {"worker"}}

# What only one folder may touch: the master runs as root and loads, parses and accepts nothing.
RESERVED = [
    ("worker", re.compile(r"FCGX_|FCGI_|OS_LibInit|OS_IpcReadWrite"), "libfcgi"),
    ("worker", re.compile(r"dl(m?open|v?sym|close|error)$"), "loading of objects"),
    ("gate", re.compile(r"evhttp_"), "HTTP"),
    ("ctl", re.compile(r"curl_"), "the client of HTTP"),
]
RESERVED_HEADERS = [
    ("worker", re.compile(r"fcgi\w*\.h$|fcgi\w*/"), "libfcgi"),
    ("worker", re.compile(r"dlfcn\.h$"), "loading of objects"),
    ("gate", re.compile(r"event2/http|evhttp\.h$"), "HTTP"),
    ("ctl", re.compile(r"curl/"), "the client of HTTP"),
    ("ctl", re.compile(r"n?cursesw?(\.h$|/)|term\.h$"), "the terminal"),
]

# Functions that end the process. A worker and the gate end as they like: they are processes.
EXITS = re.compile(r"(exit|quick_exit|_exit|_Exit|abort|v?errx?|v?errc|error|error_at_line)$")
MAY_EXIT = {
    ("preforkd", "exit"): "main decides the exit code",
    ("preforkctl", "exit"): "main decides the exit code",
    ("common/log", "exit"): "fatal errors before the daemon is ready",
    ("master/daemon", "_exit"): "the command that waited for the daemon leaves with its answer",
    ("master/upgrade", "_exit"): "the child that could not execute the program that it was to ask",
}

# Pure: decided from the arguments alone. What a compiler may put in by itself is allowed.
PURE = {"master/life", "master/lines", "master/policy", "worker/answer", "worker/fcgi",
        "worker/logline", "worker/params"}
PURE_SYMBOLS = {"memchr", "memcpy", "memmove", "memset", "memcmp", "strchrnul", "strcmp", "strlen",
                "strncmp",
                "__stack_chk_fail", "__assert_fail", "_GLOBAL_OFFSET_TABLE_"}
PURE_HEADERS = {"assert.h", "inttypes.h", "limits.h", "stdbool.h", "stddef.h", "stdint.h",
                "string.h", "common/logformat"}

# Data that other files could change. Constants are no matter, whatever the linker calls them.
MAY_BE_GLOBAL = {
    # "common/log": {"name": "reason"}: nothing yet, even the log keeps its sink to itself
}
CONSTANT = re.compile(r"\.rodata|\.data\.rel\.ro")


class Source:
    """One file of src: its lines, and its text without comments, strings and directives."""

    def __init__(self, top, path):
        self.path = path
        self.name = os.path.splitext(os.path.relpath(path, "src"))[0]
        self.folder = os.path.dirname(self.name)
        with open(os.path.join(top, path), encoding="utf-8") as f:
            self.text = f.read()
        self.lines = self.text.split("\n")[:-1]
        no_comments = blank(self.text, r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|"
                                       r"'(?:\\.|[^'\\\n])*'", keep=r"[\"']")
        self.includes = [(no_comments.count("\n", 0, m.start()) + 1, m.group(1), m.group(2))
                         for m in re.finditer(r"^[ \t]*#[ \t]*include[ \t]*([\"<])([^\">\n]+)",
                                              self.without_comments(), re.M)]
        self.code = blank(no_comments, r"^[ \t]*#(?:\\\n|[^\n])*", flags=re.M)

    def without_comments(self):
        return blank(self.text, r"/\*.*?\*/|//[^\n]*")

    def functions(self):
        """(name, first line, last line, body) of every function; relies on clang-format."""
        lines = self.code.split("\n")
        for at, line in enumerate(lines):
            if line != "{":
                continue
            end = next((i for i in range(at, len(lines)) if lines[i][:1] == "}"), len(lines) - 1)
            first = at
            while first > 0 and lines[first - 1].strip() and lines[first - 1][0] not in "}#":
                first -= 1
            head = re.sub(r"__attribute__\s*\(\(.*?\)\)", "", " ".join(lines[first:at]))
            name = re.search(r"(\w+)\s*\(", head)
            yield name.group(1) if name else "?", first + 1, end + 1, "\n".join(lines[at:end + 1])


def blank(text, pattern, keep=None, flags=re.S):
    """Takes out what matches but for its newlines; with keep, quotes stay as an empty literal."""
    def gone(match):
        newlines = "\n" * match.group(0).count("\n")
        if keep and re.match(keep, match.group(0)):
            return '""' + newlines
        return newlines or " "
    return re.sub(pattern, gone, text, flags=flags)


def sources(top):
    found = []
    for directory, _, names in os.walk(os.path.join(top, "src")):
        found += [os.path.relpath(os.path.join(directory, n), top)
                  for n in names if n.endswith((".c", ".h"))]
    return [Source(top, path) for path in sorted(found)]


# What the includes say


def folder_rule(source):
    return MAY_USE_FILE.get(source.name, MAY_USE.get(source.folder))


def check_includes(files, top):
    for source in files:
        allowed = folder_rule(source)
        if allowed is None:
            yield source.path, 1, "layer", "src/%s is no folder of the house" % source.folder
            continue
        for line, kind, name in source.includes:
            if kind == "<":
                yield from check_system_header(source, line, name)
            elif not os.path.exists(os.path.join(top, "src", name)) or \
                    name != os.path.normpath(name):
                yield (source.path, line, "include",
                       '"%s" is not given as FOLDER/NAME.h below src' % name)
            elif "/" not in name:
                if source.folder not in TOP_HEADERS.get(name, set()):
                    yield source.path, line, "layer", "may not include %s" % name
            elif os.path.dirname(name) not in allowed:
                yield source.path, line, "layer", "may not include %s" % name
            if source.name in PURE and (name if kind == "<" else name[:-2]) not in \
                    PURE_HEADERS | PURE:
                yield source.path, line, "pure", "%s is not pure with %s" % (source.name, name)


def check_system_header(source, line, name):
    for owner, pattern, what in RESERVED_HEADERS:
        if pattern.match(name) and source.folder != owner and source.name != "preforkd_app":
            yield source.path, line, "reserved", "%s: %s is for src/%s" % (name, what, owner)


def check_assembly(files):
    for source in files:
        match = re.search(r"\b(_*asm_*|__builtin_ia32_\w+)\b", source.code)
        if source.name in PURE and match:
            yield (source.path, source.code.count("\n", 0, match.start()) + 1, "pure",
                   "machine instructions in a pure file")


# What the symbols say


class Object:
    def __init__(self, name):
        self.name = name
        self.folder = os.path.dirname(name)
        self.path = "src/%s.c" % name
        self.needs = set()
        self.functions = set()
        self.data = {}  # name -> section

    def exports(self):
        return self.functions | set(self.data)


def read_objects(directory):
    """All objects below the directory, by name: "master/pool"."""
    paths = {}
    for where, _, names in os.walk(directory):
        for n in names:
            if n.endswith(".o"):
                path = os.path.join(where, n)
                paths[path] = Object(os.path.splitext(os.path.relpath(path, directory))[0])
    if not paths:
        return {}
    current = None
    out = subprocess.run(["nm", "-f", "sysv", *paths], capture_output=True, text=True, check=True,
                         env={**os.environ, "LC_ALL": "C"}).stdout
    for line in out.split("\n"):
        header = re.match(r"(?:Symbols|Undefined symbols) from (.*):$", line)
        fields = [f.strip() for f in line.split("|")]
        if header:
            current = paths[header.group(1)]
        elif len(fields) == 7 and fields[0] != "Name":
            note_symbol(current or next(iter(paths.values())), fields)
    return {o.name: o for o in paths.values()}


def note_symbol(obj, fields):
    name, _, kind, what, _, _, section = fields
    if kind in "Uvw":
        obj.needs.add(name)
    elif kind.isupper() or kind in "ui":
        if what == "FUNC" or kind in "Ti":
            obj.functions.add(name)
        else:
            obj.data[name] = section


def references(objects):
    """{user: {used: symbols}} over all objects."""
    owner = {s: o for o in objects.values() for s in o.exports() if s != "main"}
    uses = {}
    for obj in objects.values():
        uses[obj.name] = {}
        for symbol in sorted(obj.needs):
            if symbol in owner and owner[symbol] is not obj:
                uses[obj.name].setdefault(owner[symbol].name, []).append(symbol)
    return uses


def check_missing(files, objects):
    for source in files:
        if source.path.endswith(".c") and source.name not in objects:
            yield source.path, 1, "object", "has not been compiled: its symbols are not known"


def check_layers(objects, uses):
    for user, used in uses.items():
        folder = os.path.dirname(user)
        allowed = MAY_USE_FILE.get(user, MAY_USE.get(folder, set()))
        for other, symbols in used.items():
            if os.path.dirname(other) not in allowed:
                yield (objects[user].path, 1, "layer", "may not use %s of src/%s.c" %
                       (", ".join(symbols), other))


def shortest_cycle(uses, start):
    """The shortest way from start back to start, or None."""
    ways = [[start]]
    seen = set()
    while ways:
        way = ways.pop(0)
        for other in sorted(uses.get(way[-1], {})):
            if other == start:
                return way + [start]
            if other not in seen:
                seen.add(other)
                ways.append(way + [other])
    return None


def check_cycles(objects, uses):
    told = set()
    for name in sorted(uses):
        cycle = shortest_cycle(uses, name)
        if cycle is None or frozenset(cycle) in told:
            continue
        told.add(frozenset(cycle))
        steps = ["%s (%s)" % (b, ", ".join(uses[a][b])) for a, b in zip(cycle, cycle[1:])]
        yield objects[name].path, 1, "cycle", "%s -> %s" % (name, " -> ".join(steps))


def check_reserved(objects):
    for obj in objects.values():
        for symbol in sorted(obj.needs):
            for owner, pattern, what in RESERVED:
                if pattern.match(symbol) and obj.folder != owner:
                    yield obj.path, 1, "reserved", "%s: %s is for src/%s" % (symbol, what, owner)
            if obj.folder in ("", "master", "common") and EXITS.match(symbol) and \
                    (obj.name, symbol) not in MAY_EXIT:
                yield obj.path, 1, "exit", "may not call %s" % symbol
            if obj.name in PURE and symbol not in PURE_SYMBOLS and not any(
                    symbol in objects[p].exports() for p in PURE if p in objects):
                yield obj.path, 1, "pure", "%s is not pure with %s" % (obj.name, symbol)


def check_exports(objects, tested):
    needed = set().union(*(o.needs for o in objects.values())) | tested
    for obj in objects.values():
        prefix = os.path.basename(obj.name)
        for symbol, section in sorted(obj.data.items()):
            if not CONSTANT.match(section) and symbol not in MAY_BE_GLOBAL.get(obj.name, {}):
                yield obj.path, 1, "global", "%s can be changed by every file" % symbol
        for symbol in sorted(obj.exports() - {"main"}):
            if symbol != prefix and not symbol.startswith(prefix + "_"):
                yield obj.path, 1, "name", "%s does not begin with %s_" % (symbol, prefix)
            if symbol not in needed:
                yield obj.path, 1, "static", "no other file uses %s" % symbol
        if "main" in obj.functions and obj.folder != "":
            yield obj.path, 1, "name", "main is for src itself"


def tested_names(top):
    """Every word of the unit and fuzz tests."""
    words = set()
    for folder in ("unit", "fuzz"):
        directory = os.path.join(top, "tests", folder)
        for name in os.listdir(directory) if os.path.isdir(directory) else []:
            if name.endswith((".c", ".h")):
                with open(os.path.join(directory, name), encoding="utf-8") as f:
                    words |= set(re.findall(r"\w+", blank(f.read(), r"/\*.*?\*/|//[^\n]*")))
    return words


# Sizes


def nesting(body):
    """How deep if, for, while, do and switch stand in each other; "else if" is a chain."""
    tokens = re.findall(r"\w+|\S", body) + [";", "}"] * 8
    deepest = 0

    def skip_parens(i):
        depth = 0
        while i < len(tokens):
            depth += (tokens[i] == "(") - (tokens[i] == ")")
            i += 1
            if depth == 0:
                return i
        return i

    def inner(i, depth):
        nonlocal deepest
        deepest = max(deepest, depth)
        return statement(i, depth)

    def statement(i, depth):
        token = tokens[i]
        if token == "{":
            i += 1
            while i < len(tokens) - 1 and tokens[i] != "}":
                i = statement(i, depth)
            return i + 1
        if token in ("if", "for", "while", "switch"):
            i = inner(skip_parens(i + 1), depth + 1)
            if token == "if" and tokens[i] == "else":
                chain = tokens[i + 1] == "if"
                return statement(i + 1, depth) if chain else inner(i + 1, depth + 1)
            return i
        if token == "do":
            return expression(inner(i + 1, depth + 1) + 1)
        if token in ("case", "default"):
            return tokens.index(":", i) + 1
        if tokens[i + 1] == ":":
            return i + 2
        if tokens[i + 1] == "(" and tokens[skip_parens(i + 1)] == "{":  # TAILQ_FOREACH and such
            return inner(skip_parens(i + 1), depth + 1)
        return expression(i)

    def expression(i):
        depth = 0
        while i < len(tokens) - 1:
            token = tokens[i]
            if depth == 0 and (token == "}" or token in ("if", "for", "while", "switch", "do")):
                return i  # a macro that needs no semicolon stood before it
            depth += (token in "([{") - (token in ")]}")
            i += 1
            if depth == 0 and token == ";":
                return i
        return i

    statement(0, 0)
    return deepest


def check_sizes(files):
    for source in files:
        if len(source.lines) > FILE_LINES:
            yield source.path, FILE_LINES, "size", "has %d lines" % len(source.lines)
        for number, line in enumerate(source.lines, 1):
            if len(line.expandtabs(TAB)) > COLUMNS:
                yield source.path, number, "size", "has %d columns" % len(line.expandtabs(TAB))
        for name, first, last, body in source.functions():
            if last - first + 1 > FUNCTION_LINES:
                yield source.path, first, "size", "%s has %d lines" % (name, last - first + 1)
            if nesting(body) > NESTING:
                yield source.path, first, "size", "%s is nested %d deep" % (name, nesting(body))


def check(top, directory):
    """All findings, as (path, line, rule, sentence)."""
    files = sources(top)
    findings = [*check_includes(files, top), *check_assembly(files), *check_sizes(files)]
    if directory is not None:
        objects = read_objects(directory)
        uses = references(objects)
        findings += [*check_missing(files, objects), *check_layers(objects, uses),
                     *check_cycles(objects, uses), *check_reserved(objects),
                     *check_exports(objects, tested_names(top))]
    return findings


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--objects", metavar="DIR")
    parser.add_argument("top", nargs="?", default=".")
    args = parser.parse_args()
    findings = check(args.top, args.objects)
    for path, line, rule, sentence in sorted(findings):
        print("%s:%d: [%s] %s" % (path, line, rule, sentence))
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
