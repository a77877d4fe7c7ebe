"""One process of an external program that serves HTTP on loopback, from its start to its end.

It runs behind `guard.py`, so that nothing of it outlives us.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from batchyard.transport import guard, loopback

_TAIL_BYTES = 32768
_LINE_CHARACTERS = 300
_KEPT_LOGS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How to start a program: `words` to execute, with `environment` added to ours, and where it will then listen.

    `key` is the bearer key that it will ask for; empty for none.
    """

    title: str
    words: tuple[str, ...]
    port: int
    health_path: str = "/health"
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long each step may take; `start_seconds` None waits as long as the program lives.

    A program that ends is started again at once. Where that fails, or where it ends again within `settled_seconds`, the
    next start waits `backoff_seconds`, doubling up to `backoff_ceiling_seconds`.
    """

    start_seconds: float | None = 1800.0
    stop_seconds: float = 15.0
    probe_seconds: float = 10.0
    probe_interval_seconds: float = 0.25
    backoff_seconds: float = 1.0
    backoff_ceiling_seconds: float = 60.0
    settled_seconds: float = 60.0
    log_bytes: int = 16 * 1024 * 1024


class CannotStart(Exception):
    """A program that did not become healthy: why, what it printed last, and where the rest of that is."""

    def __init__(self, message: str, lines: tuple[str, ...] = (), log: Path | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.lines = lines
        self.log = log


class Life(asyncio.SubprocessProtocol):
    """One process of a program. `ended` is set once it and everything that it forked are gone."""

    def __init__(self, launch: Launch, log: Path, patience: Patience, on_end: Callable[[], None]) -> None:
        self.launch = launch
        self.log = log
        self.ended = asyncio.Event()
        self.code: int | None = None
        self._patience = patience
        self._on_end = on_end
        self._said = bytearray()
        self._guard: asyncio.SubprocessTransport | None = None

    @property
    def pid(self) -> int | None:
        """The program's own process id, which is also its process group; None until it is known."""
        first, newline, _ = self._said.partition(b"\n")
        return int(first) if newline and first.isdigit() else None

    async def begin(self) -> None:
        """Start the process; it is not yet healthy. Raises OSError where the log or the guard cannot be opened."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        _set_aside(self.log)
        patience = self._patience
        guarded = (guard.__file__, str(self.log), str(patience.log_bytes), str(patience.stop_seconds))
        transport, _ = await asyncio.get_running_loop().subprocess_exec(
            lambda: self,
            *(sys.executable, "-I", "-S", *guarded, *self.launch.words),
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, **self.launch.environment},
            start_new_session=True,
        )
        self._guard = transport

    async def become_healthy(self) -> None:
        """Return once the program answers its health path. Raises CannotStart where it ends or takes too long."""
        try:
            async with asyncio.timeout(self._patience.start_seconds):
                while not self.ended.is_set() and not await self.is_healthy():
                    await self._ended_within(self._patience.probe_interval_seconds)
        except TimeoutError:
            raise self.trouble(f"was not ready within {self._patience.start_seconds:.0f} s") from None
        if self.ended.is_set():
            raise self.trouble(f"ended while it was starting ({self.how_it_ended()})")

    async def is_healthy(self) -> bool:
        """Whether it answers its health path with success."""
        try:
            async with asyncio.timeout(self._patience.probe_seconds):
                status, _ = await loopback.get(self.launch.port, self.launch.health_path)
        except (OSError, TimeoutError):
            return False
        return 200 <= status < 300 and not self.ended.is_set()

    async def has_ended(self, within_seconds: float) -> bool:
        """Whether it is over, or no longer healthy. Gives a dying process the time to die, so ask only in doubt."""
        return await self._ended_within(within_seconds) or not await self.is_healthy()

    async def stop(self, *, now: bool = False) -> None:
        """End the process and all that it forked: SIGTERM and some time, or SIGKILL at once. May be called twice."""
        if self._guard is None:
            return
        self._order(now)
        if not await self._ended_within(self._patience.stop_seconds + 10):
            self._guard.kill()
            await self.ended.wait()

    def how_it_ended(self) -> str:
        if self.code is None:
            return "still running"
        if self.code < 0:
            return "its guard was killed"
        if self.code > 128:
            with suppress(ValueError):
                return f"signal {signal.Signals(self.code - 128).name}"
        return f"exit code {self.code}"

    def trouble(self, what: str) -> CannotStart:
        """The error that says what happened, with the last lines of the log."""
        return CannotStart(f"{self.launch.title} {what}.", self.last_lines(), self.log)

    def last_lines(self, count: int = 100) -> tuple[str, ...]:
        """What the program printed last; each line cut to a readable length."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - _TAIL_BYTES))
                text = file.read().decode(errors="replace")
        except OSError:
            text = self._said.decode(errors="replace")
        lines = [line.rstrip()[:_LINE_CHARACTERS] for line in text.splitlines() if line.strip()]
        return tuple(lines[-count:])

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if len(self._said) < _TAIL_BYTES:
            self._said += data

    def process_exited(self) -> None:
        assert self._guard is not None
        self.code = self._guard.get_returncode()
        if self.pid is not None and self.code is not None and self.code < 0:
            with suppress(OSError):  # the guard itself was killed: its work is ours
                os.killpg(self.pid, signal.SIGKILL)
        self._guard.close()
        self.ended.set()
        self._on_end()

    def _order(self, now: bool) -> None:
        assert self._guard is not None
        orders = cast(
            "asyncio.WriteTransport | None", self._guard.get_pipe_transport(0)
        )  # uvloop's is of no such class
        if orders is not None and not orders.is_closing():
            if now:
                orders.write(b"!")
            orders.close()

    async def _ended_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.ended.wait()
        return self.ended.is_set()


def _set_aside(log: Path) -> None:
    """Begin a new log; the last few earlier ones stay beside it, numbered from the latest."""
    for number in range(_KEPT_LOGS, 0, -1):
        older = Path(f"{log}.{number - 1}") if number > 1 else log
        with suppress(FileNotFoundError):
            older.replace(f"{log}.{number}")
    log.touch()
