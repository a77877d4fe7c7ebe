"""What a command costs: wall time, processor time and peak memory of its process tree; and killing it half way."""

import os
import platform
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

_LOOK_SECONDS = 0.05
_SAMPLE_SECONDS = 0.25  # walking /proc costs processor time, which the command would miss


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """One run. `answering_seconds` is from the first answer to the last, as far as they can be seen; else None.

    `answered` is the last number of answers that was seen while it ran.
    """

    exit_code: int
    wall_seconds: float
    cpu_seconds: float
    peak_rss_mb: float
    processes: int
    answering_seconds: float | None
    answered: int


class Tree:
    """A process and everything below it, sampled. Memory that processes share counts once for each of them."""

    def __init__(self, root: int) -> None:
        self._root = psutil.Process(root)
        self._cpu: dict[tuple[int, float], float] = {}
        self.peak_rss = 0

    def sample(self) -> None:
        rss = 0
        for process in self._alive():
            with suppress(psutil.Error):
                times = process.cpu_times()
                self._cpu[process.pid, process.create_time()] = times.user + times.system
                rss += process.memory_info().rss
        self.peak_rss = max(self.peak_rss, rss)

    def _alive(self) -> list[psutil.Process]:
        try:
            return [self._root, *self._root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    @property
    def cpu_seconds(self) -> float:
        return sum(self._cpu.values())

    @property
    def processes(self) -> int:
        return len(self._cpu)

    @property
    def pids(self) -> list[int]:
        return [pid for pid, _ in self._cpu]


class Progress:
    """When answers were seen: `answered` counts those so far, None before the command has begun."""

    def __init__(self, answered: Callable[[], int | None], lines: int) -> None:
        self._answered = answered
        self._lines = lines
        self._began: float | None = None
        self._ended: float | None = None
        self.seen = 0

    def look(self) -> int:
        now, count = time.perf_counter(), self._answered()
        self.seen = max(self.seen, count or 0)
        if count is not None and self._began is None:
            self._began = now
        if count == self._lines and self._ended is None:
            self._ended = now
        return count or 0

    def seconds(self, at_most: float) -> float | None:
        return None if self._began is None else (self._ended or at_most) - self._began


def run(
    command: Sequence[str],
    log: Path,
    *,
    environment: Mapping[str, str],
    answered: Callable[[], int | None],
    lines: int,
    kill_at: int | None = None,
) -> Cost:
    """Run a command to its end, or kill -9 it as soon as it has answered so many lines."""
    before = _children_cpu_seconds()
    progress, sampled = Progress(answered, lines), 0.0
    with log.open("wb") as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **environment}, start_new_session=True
        )
        tree = Tree(process.pid)
        while process.poll() is None:
            if time.perf_counter() - sampled >= _SAMPLE_SECONDS:
                tree.sample()
                sampled = time.perf_counter()
            if progress.look() >= (kill_at or lines + 1):
                process.kill()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_LOOK_SECONDS)
    ended = time.perf_counter()
    cost = Cost(
        exit_code=process.returncode,
        wall_seconds=ended - started,
        cpu_seconds=max(tree.cpu_seconds, _children_cpu_seconds() - before),
        peak_rss_mb=tree.peak_rss / 1e6,
        processes=tree.processes,
        answering_seconds=progress.seconds(ended),
        answered=progress.seen,
    )
    _clear(tree.pids)
    return cost


def _children_cpu_seconds() -> float:
    """Of all that ended and was waited for by its parent: exact, but blind to orphans, which the samples see."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _clear(pids: Sequence[int]) -> None:
    """End what a killed command has left running, so that the next run has the machine to itself."""
    for pid in pids:
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            with suppress(psutil.TimeoutExpired):
                process.wait(20)
            if process.is_running():
                process.send_signal(signal.SIGKILL)


def machine() -> dict[str, object]:
    """The facts that figures depend on."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
