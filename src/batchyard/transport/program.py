"""External programs that serve HTTP on loopback: started, waited for, watched, started again, stopped.

`Life` is one process from its start to its end; `Program` keeps one alive. Every process runs behind `guard.py`, so
that nothing of it outlives us.
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from batchyard.transport import guard

_TAIL_BYTES = 32768
_LINE_CHARACTERS = 400
_KEPT_LOGS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How to start a program: `words` to execute, with `environment` added to ours, and where it will then listen."""

    title: str
    words: tuple[str, ...]
    port: int
    health_path: str = "/health"
    environment: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long each step may take.

    A program that ends is started again at once. Where that fails, or where it ends again within `settled_seconds`, the
    next start waits `backoff_seconds`, doubling up to `backoff_ceiling_seconds`.
    """

    start_seconds: float = 900.0
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


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


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
                status, _ = await get(self.launch.port, self.launch.health_path)
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

    def last_lines(self, count: int = 12) -> tuple[str, ...]:
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
        orders = self._guard.get_pipe_transport(0)
        if isinstance(orders, asyncio.WriteTransport) and not orders.is_closing():
            if now:
                orders.write(b"!")
            orders.close()

    async def _ended_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.ended.wait()
        return self.ended.is_set()


class Program:
    """Keeps a program alive. `launch` is asked anew for each life, so that each may have its own port and key."""

    def __init__(self, launch: Callable[[], Launch], log: Path, patience: Patience | None = None) -> None:
        self.restarts = 0
        self._launch = launch
        self._log = log
        self._patience = patience or Patience()
        self._tasks = asyncio.TaskGroup()
        self._keeper: asyncio.Task[None] | None = None
        self._life: Life | None = None
        self._attempt: asyncio.Future[Life | CannotStart] | None = None

    async def start(self) -> Life:
        """Start it for the first time. Raises CannotStart where that fails: then it is not tried again."""
        life = await self._live()
        await self._tasks.__aenter__()
        self._new_attempt().set_result(life)
        self._keeper = self._tasks.create_task(self._keep(life))
        return life

    async def ready(self, patience_seconds: float) -> Life:
        """The living program; waits while it is being started again.

        Raises CannotStart where the last start failed and the next has not yet begun, and where waiting took too long.
        """
        assert self._attempt is not None
        try:
            async with asyncio.timeout(patience_seconds):
                outcome = await asyncio.shield(self._attempt)
        except TimeoutError:
            raise CannotStart("It is still being started again.", (), self._log) from None
        if isinstance(outcome, CannotStart):
            raise outcome
        return outcome

    async def stop(self) -> None:
        """End it and watch it no longer. May be called twice."""
        if self._keeper is not None and not self._keeper.done():
            self._keeper.cancel()
            await self._tasks.__aexit__(None, None, None)
        if self._life is not None:
            await self._life.stop()

    async def _keep(self, life: Life) -> None:
        """Start it again whenever it has ended."""
        early_deaths = 0
        while True:
            born = asyncio.get_running_loop().time()
            await life.ended.wait()
            lived = asyncio.get_running_loop().time() - born
            early_deaths = early_deaths + 1 if lived < self._patience.settled_seconds else 0
            life = await self._live_again(max(0, early_deaths - 1))

    async def _live_again(self, failures: int) -> Life:
        """A new life, however many attempts it takes."""
        while True:
            await asyncio.sleep(self._backoff(failures))
            attempt = self._attempt if self._attempt and not self._attempt.done() else self._new_attempt()
            self.restarts += 1
            try:
                life = await self._live()
            except CannotStart as trouble:
                attempt.set_result(trouble)
                failures += 1
                continue
            attempt.set_result(life)
            return life

    def _backoff(self, failures: int) -> float:
        if failures == 0:
            return 0.0
        return min(
            self._patience.backoff_ceiling_seconds, self._patience.backoff_seconds * 2.0 ** min(failures - 1, 20)
        )

    async def _live(self) -> Life:
        """One life, healthy. Raises CannotStart; nothing of a life that failed is left."""
        life = Life(self._launch(), self._log, self._patience, self._life_ended)
        try:
            await life.begin()
            await life.become_healthy()
        except OSError as error:
            raise CannotStart(f"{life.launch.title} cannot be started: {error}.") from error
        except BaseException:
            await life.stop(now=True)
            raise
        self._life = life
        return life

    def _life_ended(self) -> None:
        """Whoever asks from now on waits for the next life."""
        if self._attempt is not None and self._attempt.done() and isinstance(self._attempt.result(), Life):
            self._new_attempt()

    def _new_attempt(self) -> asyncio.Future[Life | CannotStart]:
        self._attempt = asyncio.get_running_loop().create_future()
        return self._attempt


async def get(port: int, path: str, *, key: str | None = None, max_bytes: int = 16 * 1024 * 1024) -> tuple[int, bytes]:
    """One GET on loopback: status and body. HTTP/1.0, so that the end of the connection is the end of the body.

    Raises OSError where nobody answers, or not in HTTP.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        bearer = f"Authorization: Bearer {key}\r\n" if key else ""
        writer.write(f"GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nConnection: close\r\n{bearer}\r\n".encode())
        answer = bytearray()
        while len(answer) <= max_bytes and (part := await reader.read(65536)):
            answer += part
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    return _parse(bytes(answer))


def _parse(answer: bytes) -> tuple[int, bytes]:
    head, separator, body = answer.partition(b"\r\n\r\n")
    words = head.split(maxsplit=2)
    if not separator or len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        raise ConnectionError("the answer is not HTTP")
    return int(words[1]), body


def _set_aside(log: Path) -> None:
    """Begin a new log; the last few earlier ones stay beside it, numbered from the latest."""
    for number in range(_KEPT_LOGS, 0, -1):
        older = Path(f"{log}.{number - 1}") if number > 1 else log
        with suppress(FileNotFoundError):
            older.replace(f"{log}.{number}")
    log.touch()
