"""What this process may use of the machine: cores and memory, as the kernel and its control group allow.

Sources: proc(5), and https://docs.kernel.org/admin-guide/cgroup-v2.html for the two limits of a group.
"""

import math
import os
from pathlib import Path

GROUP = Path("/sys/fs/cgroup")


def cores(group: Path = GROUP) -> int:
    """Cores that we may keep busy, at least one."""
    ours = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _words(group / "cpu.max")
    if len(quota) == 2 and quota[0].isdigit():
        ours = min(ours, math.ceil(int(quota[0]) / int(quota[1])))
    return max(1, ours)


def free_bytes(group: Path = GROUP, memory: Path = Path("/proc/meminfo")) -> int | None:
    """Memory that can still be taken without swapping; None where nobody says."""
    known = [room for room in (_machine_room(memory), _group_room(group)) if room is not None]
    return min(known, default=None)


def _machine_room(memory: Path) -> int | None:
    try:
        lines = memory.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _group_room(group: Path) -> int | None:
    limit = _words(group / "memory.max")
    used = _words(group / "memory.current")
    if not limit or not limit[0].isdigit() or not used:
        return None
    return max(0, int(limit[0]) - int(used[0]))


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []
