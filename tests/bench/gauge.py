"""What is measured from outside: time on a processor, memory, wake-ups, system calls; and medians."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time

PSS_SAMPLE = 32
# By name; what else a server calls is "other".
SYSCALLS = """accept accept4 close connect epoll_ctl epoll_pwait epoll_wait fcntl futex getpid
    getpeername getsockname getsockopt ioctl newfstat newfstatat open openat poll ppoll pselect6 read readv
    recvfrom recvmsg rt_sigaction rt_sigprocmask select sendmsg sendto setitimer setsockopt shutdown
    times write writev""".split()


def read_proc(pid, name):
    try:
        with open("/proc/%d/%s" % (pid, name), encoding="ascii", errors="replace") as f:
            return f.read()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def read_threads(pids, name):
    """What this file says of each of their threads."""
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for thread in os.listdir("/proc/%d/task" % pid):
                yield read_proc(pid, "task/%s/%s" % (thread, name))


def cpu_ns(pids):
    """On a processor, all of them together: the figure that other load on the machine spares."""
    return sum(int((text or "0").split()[0]) for text in read_threads(pids, "schedstat"))


def pss_kib(pids):
    """Of the first, and of the others: looking at a thousand takes long, so it looks at some."""
    def of(some):
        found = (re.search(r"^Pss:\s+(\d+)", read_proc(pid, "smaps_rollup"), re.M) for pid in some)
        return sum(int(m.group(1)) for m in found if m)
    workers = pids[1:]
    sample = workers[::max(1, len(workers) // PSS_SAMPLE)]
    return of(pids[:1]) + of(sample) * len(workers) // max(1, len(sample))


def wakeups(pids):
    found = (re.search(r"^voluntary_ctxt_switches:\s+(\d+)", text, re.M)
             for text in read_threads(pids, "status"))
    return sum(int(m.group(1)) for m in found if m)


def quantile(values, part):
    ordered = sorted(values)
    at = part * (len(ordered) - 1)
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


def summary(values):
    """Median and quartiles, and what they are of."""
    return {"median": quantile(values, 0.5), "low": quantile(values, 0.25),
            "high": quantile(values, 0.75), "values": values}


def summary_if_all(values, factor):
    """None if one of them is."""
    return None if None in values else summary([value * factor for value in values])


class Syscalls:
    """Counts the system calls of some processes; the kernel counts, so it costs them next to nothing."""

    def __init__(self, pids):
        known = subprocess.run(["perf", "list", "syscalls:sys_enter_*"], capture_output=True,
                               text=True, check=False).stdout.split()
        events = ["raw_syscalls:sys_enter"] + [
            "syscalls:sys_enter_" + n for n in SYSCALLS if "syscalls:sys_enter_" + n in known]
        self.counter = subprocess.Popen(
            ["perf", "stat", "-x", ",", "-e", ",".join(events), "-p",
             ",".join(str(pid) for pid in pids)],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        time.sleep(0.4)  # it does not say when it has begun

    @staticmethod
    def is_there():
        if shutil.which("perf") is None:
            return False
        trial = subprocess.run(["perf", "stat", "-x", ",", "-e", "raw_syscalls:sys_enter", "true"],
                               capture_output=True, text=True, check=False)
        return re.match(r"\d+,", trial.stderr.strip().split("\n")[-1]) is not None

    def end(self):
        """{name: how many}, and "all"."""
        self.counter.send_signal(signal.SIGINT)
        _, text = self.counter.communicate()
        found = {m.group(2): int(m.group(1))
                 for m in re.finditer(r"^(\d+),,(?:raw_)?syscalls:sys_enter_?(\w*),", text, re.M)}
        counts = {name or "all": n for name, n in found.items() if n > 0}
        if "all" not in counts:
            raise RuntimeError("perf has counted nothing: " + text)
        counts["other"] = counts["all"] - sum(n for k, n in counts.items() if k != "all")
        return counts
