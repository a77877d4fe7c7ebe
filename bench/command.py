"""Running a whole command and knowing what it cost; and the null upstream that it talks to."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

HERE = Path(__file__).parent
BATCHYARD = (sys.executable, "-m", "batchyard")


class Cost(Struct, frozen=True, kw_only=True):
    """One run of one process. Peaks are of resident memory; a stage's is the highest from the start to its end."""

    exit_code: int
    wall_seconds: float
    user_seconds: float
    system_seconds: float
    peak_bytes: int
    stage_peaks: dict[str, int]
    stage_begins: dict[str, float]

    @property
    def cpu_seconds(self) -> float:
        return self.user_seconds + self.system_seconds


def run(
    words: Sequence[str | Path],
    *,
    log: Path,
    stages: Mapping[str, Path] = {},
    kill: tuple[Path, int] | None = None,
    timeout_seconds: float = 3600,
) -> Cost:
    """Run a command to its end on the first core; what it says goes to `log`.

    `stages` are names of its parts with the files that appear when they begin. `kill` ends it with SIGKILL once a file
    has so many bytes.
    """
    launch: list[str] = [sys.executable, "-I", "-S", str(HERE / "launch.py"), "--core", str(cores()[0])]
    for name, path in stages.items():
        launch += ["--stage", f"{name}={path}"]
    if kill is not None:
        launch += ["--kill", f"{kill[0]}={kill[1]}"]
    with log.open("wb") as errors:
        done = subprocess.run(
            [*launch, "--", *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=errors,
            check=True,
            timeout=timeout_seconds,
        )
    return msgspec.json.decode(done.stdout, type=Cost)


class NullUpstream:
    """A server that costs next to nothing, compiled in `folder`; it has the second core where there is one."""

    def __init__(self, folder: Path) -> None:
        program = folder / "null_upstream"
        subprocess.run(["cc", "-O2", "-o", program, HERE / "null_upstream.c"], check=True)
        self._server = subprocess.Popen([program], stdout=subprocess.PIPE, text=True)
        os.sched_setaffinity(self._server.pid, {cores()[-1]})
        self.url = f"http://127.0.0.1:{int(self._said())}"

    def first_request(self) -> float:
        """Wait for the first request that has a body; when it came, by `time.perf_counter`."""
        assert self._said() == "first"
        return time.perf_counter()

    def stop(self) -> int:
        """End it; how many requests with a body it has answered."""
        self._server.terminate()
        said, _ = self._server.communicate()
        return int(said.split()[-1])

    def _said(self) -> str:
        assert self._server.stdout is not None
        return self._server.stdout.readline().strip()


@contextmanager
def null_upstream(folder: Path) -> Iterator[NullUpstream]:
    upstream = NullUpstream(folder)
    try:
        yield upstream
    finally:
        upstream.stop()


def cores() -> list[int]:
    """The cores that we may use: tool and upstream must not take turns on one where there are several."""
    return sorted(os.sched_getaffinity(0))
