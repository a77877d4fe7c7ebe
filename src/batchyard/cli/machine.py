"""What the doctor finds out about the machine: cores, memory, limits, disk, accelerators."""

import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from batchyard.cli.finding import Finding, Level
from batchyard.cli.wording import data

CGROUP = Path("/sys/fs/cgroup")
MEMINFO = Path("/proc/meminfo")
MOUNTS = Path("/proc/self/mounts")

LITTLE_MEMORY_BYTES = 1 << 30
LITTLE_DISK_BYTES = 1 << 30
FEW_FILES = 4096
SLOW_SYNC_SECONDS = 0.05
SYNCS = 9
IN_MEMORY = frozenset({"tmpfs", "ramfs"})
OVER_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs"})


def look_at_machine(folder: str) -> Iterator[Finding]:
    """Everything about the machine that a run in this folder depends on."""
    yield system()
    yield cores()
    yield memory()
    yield open_files()
    yield from disk(folder)
    yield from openmp(os.environ, usable_cores())
    yield from accelerators()


def system() -> Finding:
    version = ".".join(str(part) for part in sys.version_info[:3])
    facts: dict[str, object] = {"system": platform.platform(), "python": version, "machine": platform.machine()}
    old = sys.version_info < (3, 11)
    return Finding(
        subject="system",
        level=Level.WRONG if old else Level.OK,
        text=f"{platform.system()} {platform.release()} on {platform.machine()}, Python {version}",
        remedy="Batchyard needs Python 3.11 or newer." if old else "",
        facts=facts,
    )


def usable_cores(cgroup: Path = CGROUP) -> float:
    """What this process may use: its affinity, cut by the quota of its control group."""
    cores = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    words = _words(cgroup / "cpu.max")
    if len(words) == 2 and words[0].isdigit():
        cores = min(cores, int(words[0]) / int(words[1]))
    return cores


def cores(cgroup: Path = CGROUP) -> Finding:
    usable, there = usable_cores(cgroup), os.cpu_count() or 1
    limited = f", {usable:g} of them usable" if usable < there else ""
    facts: dict[str, object] = {"cores": there, "usable": usable}
    return Finding(subject="cores", level=Level.OK, text=f"{there} cores{limited}", facts=facts)


def memory(meminfo: Path = MEMINFO, cgroup: Path = CGROUP) -> Finding:
    """What is free now, cut by what the control group leaves."""
    fields = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in _lines(meminfo) if ":" in line}
    free, total = fields.get("MemAvailable"), fields.get("MemTotal")
    limit, used = _words(cgroup / "memory.max"), _words(cgroup / "memory.current")
    group = int(limit[0]) - int(used[0]) if limit and limit[0].isdigit() and used else None
    if free is None:
        return Finding(subject="memory", level=Level.NOTE, text="how much memory is free is not known here")
    usable = free if group is None else min(free, max(0, group))
    little = usable < LITTLE_MEMORY_BYTES
    limited = f" (the control group allows {data(int(limit[0]))})" if group is not None else ""
    return Finding(
        subject="memory",
        level=Level.WARNING if little else Level.OK,
        text=f"{data(usable)} free of {data(total or free)}{limited}",
        remedy="Only small models fit: close other programs or raise the limit." if little else "",
        facts={"free_bytes": usable, "total_bytes": total, "group_free_bytes": group},
    )


def open_files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = 0 <= soft < FEW_FILES
    return Finding(
        subject="open_files",
        level=Level.NOTE if few else Level.OK,
        text=f"{_limit(soft)} open files allowed, {_limit(hard)} at most",
        remedy="Each request to an upstream takes one: for thousands at once, ulimit -n 65536." if few else "",
        facts={"soft": soft, "hard": hard},
    )


def _limit(value: int) -> str:
    return "any number of" if value == resource.RLIM_INFINITY else f"{value:,}"


def disk(folder: str) -> Iterator[Finding]:
    """Room, and how long a sync takes: every answer waits for one before it counts."""
    path = Path(folder).absolute()
    try:
        room, seconds, kind = shutil.disk_usage(path), _sync_seconds(path), _file_system(path)
    except OSError as error:
        remedy = "Make the folder, mend its rights, or name another one with --folder."
        yield Finding(subject="disk", level=Level.WRONG, text=f"{path}: {error.strerror}", remedy=remedy)
        return
    little = room.free < LITTLE_DISK_BYTES
    yield Finding(
        subject="disk",
        level=Level.WARNING if little else Level.OK,
        text=f"{data(room.free)} free in {path} ({kind or 'file system not known'})",
        remedy="A run needs about as much as its input and its output." if little else "",
        facts={"folder": str(path), "free_bytes": room.free, "file_system": kind},
    )
    yield _sync_finding(seconds)
    if kind in IN_MEMORY:
        yield Finding(
            subject="disk.kind",
            level=Level.WARNING,
            text=f"{path} lies in memory: a power cut takes everything",
            remedy="Put outputs on a real disk.",
        )
    if kind in OVER_NETWORK:
        yield Finding(
            subject="disk.kind",
            level=Level.WARNING,
            text=f"{path} lies on a network file system ({kind})",
            remedy="Name a local folder with --run-dir; the output itself may stay there.",
        )


def _sync_finding(seconds: float) -> Finding:
    slow = seconds > SLOW_SYNC_SECONDS
    return Finding(
        subject="disk.sync",
        level=Level.WARNING if slow else Level.OK,
        text=f"a sync takes {seconds * 1000:.1f} ms",
        remedy="Answers are safe a little later than usual; a faster disk for --run-dir helps." if slow else "",
        facts={"median_seconds": seconds},
    )


def _sync_seconds(folder: Path) -> float:
    """The median of a few small appends with a sync, as the journal makes them."""
    import tempfile

    with tempfile.TemporaryFile(dir=folder) as file:
        return statistics.median(_one_sync(file.fileno()) for _ in range(SYNCS))


def _one_sync(descriptor: int) -> float:
    started = time.perf_counter()
    os.write(descriptor, bytes(4096))
    os.fsync(descriptor)
    return time.perf_counter() - started


def _file_system(folder: Path) -> str | None:
    """The kind of the mount that holds the folder: the one with the longest matching path."""
    real = folder.resolve()
    mounts = [line.split() for line in _lines(MOUNTS)]
    holding = [(len(m[1]), m[2]) for m in mounts if len(m) > 2 and real.is_relative_to(m[1].replace("\\040", " "))]
    return max(holding)[1] if holding else None


def openmp(environment: Mapping[str, str], cores: float) -> Iterator[Finding]:
    """Spinning threads cost embedded engines a multiple of their speed on shared cores; our workers start passive."""
    policy, threads = environment.get("OMP_WAIT_POLICY", ""), environment.get("OMP_NUM_THREADS", "")
    if policy.lower() == "active":
        yield Finding(
            subject="openmp.wait_policy",
            level=Level.WARNING,
            text="OMP_WAIT_POLICY=active makes waiting threads burn their cores",
            remedy="unset OMP_WAIT_POLICY",
        )
    if threads.isdigit() and int(threads) > cores:
        yield Finding(
            subject="openmp.threads",
            level=Level.WARNING,
            text=f"OMP_NUM_THREADS={threads} is more than the {cores:g} usable cores",
            remedy="unset OMP_NUM_THREADS",
        )


def accelerators() -> Iterator[Finding]:
    """What nvidia-smi lists, or that a device is there without a driver that answers."""
    program = shutil.which("nvidia-smi")
    listed = [] if program is None else _nvidia(program)
    for name, total, free, driver in listed:
        yield Finding(
            subject="accelerator",
            level=Level.OK,
            text=f"{name}, {free} of {total} MiB free, driver {driver}",
            facts={"name": name, "memory_mib": total, "free_mib": free, "driver": driver},
        )
    if not listed and Path("/dev/kfd").exists():
        yield Finding(subject="accelerator", level=Level.OK, text="an AMD accelerator (/dev/kfd)")
    elif not listed and (program is not None or Path("/dev/nvidia0").exists()):
        yield Finding(
            subject="accelerator",
            level=Level.WARNING,
            text="there are signs of an NVIDIA accelerator, but its driver does not answer",
            remedy="Try nvidia-smi by hand; in a container, give it the device.",
        )
    elif not listed:
        yield Finding(subject="accelerator", level=Level.NOTE, text="none: models run on the processor")


def _nvidia(program: str) -> list[tuple[str, ...]]:
    fields = "--query-gpu=name,memory.total,memory.free,driver_version"
    try:
        done = subprocess.run([program, fields, "--format=csv,noheader,nounits"], capture_output=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return []
    rows = [tuple(word.strip() for word in line.split(",")) for line in done.stdout.decode().splitlines()]
    return [row for row in rows if len(row) == 4] if done.returncode == 0 else []


def _words(path: Path) -> list[str]:
    return " ".join(_lines(path)).split()


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
