"""The results: a table on stdout, bench.json, report.md and its plots."""

import json
import os
import platform
import time

import plot
from systems import Limit, Multiwatch, PhpFpm, Preforkd

OURS, LIMIT = Preforkd.name, Limit.name
UNIX, TCP = "unix, close, 16 clients", "TCP, close, 16 clients"
KEPT4, KEPT16 = "nginx, kept, 4 clients", "nginx, kept, 16 clients"


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        models = [line.split(":", 1)[1].strip() for line in f if line.startswith("model name")]
    return "%d x %s, Linux %s" % (len(models), models[0] if models else "?", platform.release())


def spread(found, form="%.1f"):
    """The median, and the quartiles."""
    return "%s (%s-%s)" % tuple(form % found[key] for key in ("median", "low", "high"))


def table(title, head, rows, note=""):
    return {"title": title, "head": head, "rows": rows, "note": note}


def mode_table(results, mode):
    rows = []
    for name, found in results["modes"][mode].items():
        served = int(found["served"]["median"])
        clients = int(mode.rsplit(", ", 1)[1].split()[0])
        ratio = found.get("cpu_ratio")
        rows.append([
            name + ("" if served == clients else " [%d of %d served]" % (served, clients)),
            spread(found["rate"], "%.0f"),
            "%.2f" % found["rate_ratio"]["median"] if "rate_ratio" in found else "",
            spread(found["cpu"]), spread(ratio, "%.2f") if ratio else "",
            spread(found["p50"], "%.0f"), spread(found["p99"], "%.0f")])
    return table(mode, ["", "requests/s", "to limit", "CPU us/request", "to limit", "p50 us", "p99 us"],
                 rows)


def syscall_table(results):
    modes = list(results["syscalls"])
    names = list(results["syscalls"][modes[0]]) if modes else []
    rows = []
    for name in names:
        found = [results["syscalls"][mode].get(name) for mode in modes]
        rows.append([name] + [spread(f["all"]) if f and len(f["all"]["values"]) > 1 else
                              "%.1f" % f["all"]["median"] if f else "" for f in found])
    return table("System calls per request", [""] + modes, rows)


def own_syscalls(results):
    """Which they are, of preforkd and the limit."""
    rows = []
    for mode, by_system in results["syscalls"].items():
        for name in (LIMIT, OURS):
            calls = sorted(((call, n["median"]) for call, n in by_system.get(name, {}).items()),
                           key=lambda item: -item[1])
            rows.append([mode, name, ", ".join("%s %.2f" % (call, n) for call, n in calls
                                               if call != "all" and n >= 0.005)])
    return table("Which system calls", ["", "", "per request"], rows)


def scale_table(results, workers):
    rows = []
    for name, found in results["scale"][workers].items():
        row = [name, spread(found["start"], "%.0f"),
               spread(found["ready"], "%.0f") if found["ready"] else "",
               spread(found["stop"], "%.0f") if found["stop"] else "not within 5 s", "%d" % found["pss_kib"], "%.0f" % (found["pss_kib"] / int(workers))]
        if workers == "64":
            row.append(spread(found["back"], "%.0f") if found["back"] else "not within 5 s")
        rows.append(row)
    head = ["", "all alive, ms", "all ready, ms", "stopped, ms", "PSS KiB", "for each"]
    return table("%s workers" % workers, head + (["back after kill -9 of all, ms"]
                                                 if workers == "64" else []), rows)


def rest_table(results):
    return table("At rest, %d workers" % results["workers"], ["", "wake-ups in 10 s", "PSS KiB"],
                 [[name, "%d" % found["wakeups"], "%d" % found["pss_kib"]]
                  for name, found in results["rest"].items()])


def hurt_table(results):
    hurt = results["hurt"]
    rows = []
    for name, ms in hurt["silent"].items():
        rows.append([name, "not within 5 s" if ms is None else "%.1f" % ms,
                     ", ".join("%d" % n for n in hurt["stop"][name])])
    return table("When it hurts", ["", "one more client beside 4 silent and 200 slow ones, ms",
                                   "answers lost by a stop under load, three times"], rows)


def nap_table(results):
    return table("One worker always busy for a second", ["12 clients beside it", "p99 ms", "longest ms"],
                 [[name, "%.1f" % found["p99"], "%.1f" % found["max"]]
                  for name, found in results["hurt"]["nap"].items()])


def goals(results):
    """(what, figure, what it should be, is it)."""
    modes, out = results["modes"], []

    def goal(what, value, most=None, least=None, form="%.2f"):
        fine = (most is None or value <= most) and (least is None or value >= least)
        out.append([what, form % value, ("at most " + form % most) if most is not None else
                    "at least " + form % least, "yes" if fine else "NO"])

    def rate_to(other):
        pairs = zip(modes[UNIX][OURS]["rate"]["values"], modes[UNIX][other]["rate"]["values"])
        ratios = sorted(a / b for a, b in pairs)
        return ratios[len(ratios) // 2]

    goal("CPU to the limit, unix, close, 16 clients", modes[UNIX][OURS]["cpu_ratio"]["median"], 1.10)
    goal("CPU to the limit, TCP, close, 16 clients", modes[TCP][OURS]["cpu_ratio"]["median"], 1.15)
    if UNIX in results["syscalls"]:
        goal("system calls per request, unix, close",
             results["syscalls"][UNIX][OURS]["all"]["median"], 4.5)
    goal("requests/s to the limit, unix, close", rate_to(LIMIT), least=0.95)
    for other, least in ((Multiwatch.name, 1.35), (PhpFpm.name, 1.8)):
        if other in modes[UNIX]:
            goal("requests/s to %s, unix, close" % other, rate_to(other), least=least)
    goal("p99 through nginx, kept, 16 clients to 4",
         modes[KEPT16][OURS]["p99"]["median"] / modes[KEPT4][OURS]["p99"]["median"], 3)
    for name, found in results["hurt"]["nap"].items():
        goal("longest wait beside a busy worker, %s, ms" % name, found["max"], 50, form="%.1f")
    silent = results["hurt"]["silent"][OURS]
    goal("one more client beside silent and slow ones, ms", 1e9 if silent is None else silent, 50,
         form="%.1f")
    goal("answers lost by a stop under load", sum(results["hurt"]["stop"][OURS]), 0, form="%d")
    goal("wake-ups at rest", results["rest"][OURS]["wakeups"], 0, form="%d")
    many, forks = results["scale"]["1000"], results["forks"]
    loop = forks["bare"]["median"] if forks else many[LIMIT]["start"]["median"]
    goal("1,000 workers alive, to a bare fork loop", many[OURS]["start"]["median"] / loop, 1.3)
    goal("1,000 workers ready, to a bare fork loop", many[OURS]["ready"]["median"] / loop, 1.3)
    if forks:  # no goal, but what the two above are to be seen beside
        given = forks["given"]["median"]
        out.append(["a fork loop that does what a worker must, to a bare one",
                    "%.2f" % (given / loop), "", ""])
        out.append(["1,000 workers alive, to a fork loop that does what they must",
                    "%.2f" % (many[OURS]["start"]["median"] / given), "", ""])
    goal("1,000 workers stopped, ms", (many[OURS]["stop"] or {"median": 1e9})["median"], 200,
         form="%.0f")
    return table("What it should be", ["", "figure", "should be", "is it"], out)


def plots(results):
    """{file name: SVG}"""
    out = {}

    def bars(name, title, unit, found):
        rows = [(label, f["median"], f["low"], f["high"]) for label, f in found if f]
        out[name + ".svg"] = plot.bars(title, unit, rows)

    for name, mode in (("unix", UNIX), ("tcp", TCP)):
        by_system = results["modes"][mode].items()
        bars("cpu-" + name, "Processor time per request", "microseconds; " + mode,
             [(system, found["cpu"]) for system, found in by_system])
        bars("rate-" + name, "Requests per second", mode,
             [(system, found["rate"]) for system, found in by_system])
    bars("p99-kept", "99 % are answered within", "microseconds; " + KEPT16,
         [(system, found["p99"]) for system, found in results["modes"][KEPT16].items()])
    for what, title in (("start", "1,000 workers alive"), ("stop", "1,000 workers stopped")):
        bars(what + "-1000", title, "milliseconds",
             [(system, found[what]) for system, found in results["scale"]["1000"].items()])
    bars("back-64", "64 workers back after kill -9 of all", "milliseconds",
         [(system, found["back"]) for system, found in results["scale"]["64"].items()])
    return out


def as_text(t):
    lines = [t["head"]] + t["rows"]
    widths = [max(len(line[i]) for line in lines) for i in range(len(t["head"]))]
    out = ["", t["title"]]
    for line in lines:
        cells = [cell.ljust(w) if i == 0 else cell.rjust(w)
                 for i, (cell, w) in enumerate(zip(line, widths))]
        out.append("  ".join(cells).rstrip())
    return "\n".join(out)


def as_markdown(t):
    def row(cells):
        return "| " + " | ".join(cells) + " |"
    return "\n".join(["### " + t["title"], "", row(t["head"]), row(["---"] * len(t["head"])),
                      *(row(r) for r in t["rows"]), ""])


def write(results, directory):
    os.makedirs(directory, exist_ok=True)
    about = "%s; %s; %d workers each; medians (and quartiles) of %d rounds of %d ms in turns; " \
        "%.0f s in all" % (
            time.strftime("%Y-%m-%d %H:%M"), machine(), results["workers"], results["rounds"],
            results["ms"], results["seconds"])
    tables = [goals(results), *(mode_table(results, mode) for mode in results["modes"]),
              syscall_table(results), own_syscalls(results), rest_table(results),
              *(scale_table(results, workers) for workers in results["scale"]),
              hurt_table(results), nap_table(results)]
    figures = plots(results)
    results["about"] = about
    missing = "not measured, because it is not installed: %s\n" % ", ".join(results["missing"])
    print(about + "\n" + (missing if results["missing"] else ""))
    print("\n".join(as_text(t) for t in tables))
    with open(os.path.join(directory, "bench.json"), "w", encoding="utf-8") as f:
        json.dump(results, f, indent=1)
    for name, text in figures.items():
        with open(os.path.join(directory, name), "w", encoding="utf-8") as f:
            f.write(text)
    with open(os.path.join(directory, "report.md"), "w", encoding="utf-8") as f:
        f.write("# preforkd beside others\n\n%s\n\n%s" % (
            about, missing + "\n" if results["missing"] else ""))
        f.write("\n".join("![](%s)" % name for name in figures) + "\n\n")
        f.write("\n".join(as_markdown(t) for t in tables))
    print("\nreport: %s/report.md" % directory)
