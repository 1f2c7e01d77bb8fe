"""What processes cost, read from /proc."""

import os
from pathlib import Path


def tree(pid):
    """The process and what it has started."""
    found, at = [pid], 0
    while at < len(found):
        for task in _tasks(found[at]):
            try:
                found += [int(child) for child in (task / "children").read_text().split()]
            except OSError:
                pass
        at += 1
    return found


def _tasks(pid):
    try:
        return list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return []


def cpu_ns(pid):
    """CPU time of all threads of the process and its children, in nanoseconds; finer than the ticks of /proc/PID/stat.

    The kernel's share of their system calls is in it, loopback's receive path too, since it runs in the sender."""
    total = 0
    for one in tree(pid):
        for task in _tasks(one):
            try:
                total += int((task / "schedstat").read_text().split()[0])
            except OSError:
                pass
    return total


def memory_kb(pid):
    """(Pss, of it anonymous): what the processes hold, shared pages counted once. In KiB."""
    pss = anon = 0
    for one in tree(pid):
        try:
            lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            if line.startswith("Pss:"):
                pss += int(line.split()[1])
            elif line.startswith("Pss_Anon:"):
                anon += int(line.split()[1])
    return pss, anon


def busy_ns(cpu):
    """Time this CPU has worked for anybody, stolen time included; by ticks."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name == f"cpu{cpu}":
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, ticks[:8])
            return (user + nice + system + irq + softirq + steal) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    return 0


def machine():
    """One line: CPU, how many, kernel."""
    cpu = "unknown CPU"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.split(":", 1)[1].strip()
            break
    names = os.uname()
    return f"{cpu}, {os.cpu_count()} CPUs, {names.sysname} {names.release} {names.machine}"
