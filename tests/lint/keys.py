#!/usr/bin/env python3
"""Holds the manual and the sample configuration against the table of keys.

    keys.py [TOP]

The table is in src/common/confkey.c. src/preforkd.conf.5 has one ".It Cm KEY" for each row, in the
part of its section, which says "Type: ... MIN to MAX", "Default: X" and "Change: COST" as the row
does. conf/preforkd.conf knows no other keys, and where it says "default:" it is right. Prints
"file:line: sentence" for every finding; exit 1 if there is any.
"""

import os
import re
import sys

TABLE = "src/common/confkey.c"
MANUAL = "src/preforkd.conf.5"
SAMPLE = "conf/preforkd.conf"

ROW = re.compile(r"\{\s*CONFKEY_(MAIN|POOL),\s*\"([^\"]+)\",\s*VALUE\((.*?)\),\s*"
                 r"(NULL|\"[^\"]*\"),\s*(\w+),\s*(?:\"[^\"]*\"\s*)+\}", re.S)
UNITS = [("d", 86400000), ("h", 3600000), ("m", 60000), ("s", 1000), ("ms", 1)]


class Key:
    def __init__(self, match, line, macros, costs):
        self.section, self.name, value, self.default, cost = match.groups()
        self.line = line
        self.default = None if self.default == "NULL" else self.default[1:-1]
        self.cost = costs.get(cost, cost)
        words = [w.strip() for w in value.split(",")]
        self.type = words[0]
        named = dict(re.match(r"\.(\w+)\s*=\s*(.*)", w).groups() for w in words if w[0] == ".")
        plain = [w for w in words[2:] if w[0] != "."]
        self.min = number(named.get("min", plain[0] if plain else "0"), macros)
        self.max = number(named.get("max", plain[1] if len(plain) > 1 else ""), macros)

    def range(self):
        """The range as the manual writes it, or None where there is none to check."""
        if self.max is None or self.min is None:
            return None
        if self.type in ("UNSIGNED", "INT", "LIMIT"):
            return "%d to %d" % (self.min, self.max)
        if self.type == "MODE":
            return "%o to 0%o" % (self.min, self.max)
        if self.type == "DURATION":
            return "%s to %s" % (duration(self.min), duration(self.max))
        return None


def number(text, macros):
    """A constant of the table: a number, a macro, or a shift in brackets. None: something else."""
    text = macros.get(text, text).strip("() ")
    shift = re.fullmatch(r"(\w+)\s*<<\s*(\w+)", text)
    if shift:
        return number(shift.group(1), macros) << number(shift.group(2), macros)
    if re.fullmatch(r"-?(0x[0-9a-fA-F]+|\d+)[uUlL]*", text):
        text = text.rstrip("uUlL")
        octal = re.fullmatch(r"0[0-7]+", text)
        return int(text, 8) if octal else int(text, 0)
    return None


def duration(ms):
    if ms == 0:
        return "0"
    for unit, size in UNITS:
        if ms % size == 0:
            return "%d%s" % (ms // size, unit)
    return str(ms)


def read(top, path):
    with open(os.path.join(top, path), encoding="utf-8") as f:
        return f.read()


def table(top):
    """The rows, and how many there should be."""
    text = read(top, TABLE)
    macros = {}
    for path in ("src/common/conf.h", "src/common/confkey.h", TABLE):
        if os.path.exists(os.path.join(top, path)):
            for m in re.finditer(r"^#define (\w+) +([^/\n]+)", read(top, path), re.M):
                macros[m.group(1)] = m.group(2).strip()
    costs = dict(re.findall(r"(\w+)\[\] = \"([^\"]*)\"", text))
    rows = [Key(m, text.count("\n", 0, m.start()) + 1, macros, costs) for m in ROW.finditer(text)]
    return rows, len(re.findall(r"\{\s*CONFKEY_(?:MAIN|POOL)\s*,", text))


def plain(mdoc):
    """The words of a piece of mdoc without its macros."""
    out = []
    for line in mdoc.split("\n"):
        if line.startswith("."):
            line = re.sub(r"(^| )(Li|Cm|Pa|Ar|Dv|Ev|Va|Xr|Fl|Dq|Sq|Ql|No|Ns|Pq|Po|Pc)(?= |$)", " ",
                          line[1:])
        out.append(line)
    text = re.sub(r"\\[&-]", lambda m: "-" if m.group(0) == "\\-" else "", " ".join(out))
    return re.sub(r"\s+([.,;])(?= |$)", r"\1", re.sub(r"\s+", " ", text)).strip()


def manual_items(text):
    """(section, name, line, text) of every ".It Cm KEY" in a part that is about a section."""
    section = None
    item = None
    depth = 0
    for at, line in enumerate(text.split("\n") + [".Sh"], 1):
        if line.startswith((".Bl", ".El")):
            depth += 1 if line.startswith(".Bl") else -1
        is_key = line.startswith(".It Cm ") and depth == 1 and section
        if item and (is_key or line.startswith((".Sh", ".Ss"))):
            yield item[0], item[1], item[2], plain("\n".join(item[3]))
            item = None
        if line.startswith(".Sh"):
            section = "MAIN" if "[preforkd]" in line else "POOL" if "[pool" in line else None
        if is_key:
            item = (section, line.split()[2], at, [])
        elif item:
            item[3].append(line)


def check_item(key, text):
    """Sentences about what the manual's item says otherwise than the row."""
    if key.default is None:
        if not re.search(r"\b[Nn]o default\b", text):
            yield "does not say that there is no default"
    else:
        wanted = key.default or "empty"
        said = re.search(r"Default: (.*?)\.(?= |$)", text)
        if said is None or said.group(1) != wanted:
            yield "does not say \"Default: %s.\"" % wanted
    said = re.search(r"Change: (.*?)[.,;]", text)
    if said is None or said.group(1) != key.cost:
        yield "does not say \"Change: %s\"" % key.cost
    said = re.search(r"Type: (.*?)\.(?= |$)", text)
    if said is None:
        yield "does not say its type"
    elif key.range() and not re.search(r"(?<![\w.-])%s(?!\w)" % re.escape(key.range()),
                                       said.group(1)):
        yield "does not give the range \"%s\" in its type" % key.range()


def check_manual(top, rows):
    keys = {(k.section, k.name): k for k in rows}
    seen = set()
    for section, name, line, text in manual_items(read(top, MANUAL)):
        where = "%s:%d: " % (MANUAL, line)
        key = keys.get((section, name))
        if key is None:
            yield where + "%s is no key of that section in %s" % (name, TABLE)
            continue
        if key in seen:
            yield where + "%s is there twice" % name
        seen.add(key)
        for sentence in check_item(key, text):
            yield where + "%s %s" % (name, sentence)
    for key in rows:
        if key not in seen:
            yield "%s:%d: %s is not in %s" % (TABLE, key.line, key.name, MANUAL)


def check_sample(top, rows):
    """Also lines that are commented out: ";key = value"."""
    keys = {(k.section, k.name): k for k in rows}
    section = None
    for at, line in enumerate(read(top, SAMPLE).split("\n"), 1):
        head = re.match(r"\s*[;#]?\s?\[(preforkd|pool [^\]]+)\]", line)
        given = re.match(r"\s*[;#]?\s?([a-z][a-z-]*(?:\.\w+)?)\s*=\s*(.*)", line)
        if head:
            section = "MAIN" if head.group(1) == "preforkd" else "POOL"
        elif given:
            name = "env.NAME" if given.group(1).startswith("env.") else given.group(1)
            key = keys.get((section, name))
            if key is None:
                yield "%s:%d: %s is no key of that section in %s" % (SAMPLE, at, name, TABLE)
                continue
            said = re.search(r";\s*default:?\s+(\S+?)[,;]?(\s|$)", given.group(2))
            if said and said.group(1) not in (key.default, "none", "empty"):
                yield "%s:%d: the default of %s is \"%s\"" % (SAMPLE, at, name, key.default)


def check(top):
    missing = [p for p in (TABLE, MANUAL, SAMPLE) if not os.path.exists(os.path.join(top, p))]
    if missing:
        return ["%s:1: is missing" % path for path in missing]
    rows, count = table(top)
    if count == 0 or count != len(rows):
        return ["%s:1: %d of %d rows could be read" % (TABLE, len(rows), count)]
    return [*check_manual(top, rows), *check_sample(top, rows)]


def main():
    findings = check(sys.argv[1] if len(sys.argv) > 1 else ".")
    for line in findings:
        print(line)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
