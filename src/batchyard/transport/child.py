"""A supervised child process: a module of ours, reached by frames over a socket pair that nobody else can open.

The child runs in a session of its own, or at least in a process group, so that Ctrl-C in a terminal asks us, not it; it
ends when we end, however we end (see `transport.parent`). What it prints is kept for error messages and goes nowhere
else.
"""

import asyncio
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable, Mapping
from typing import cast

from msgspec import Struct

from batchyard.transport.frames import BrokenStream, Frame, FrameReader, pack

OUTPUT_LINES = 50
"""How much of what the child printed is kept."""

GRACE_SECONDS = 5.0
"""How long a child that was told to go may take before it is killed."""

LAST_WORDS_SECONDS = 0.5
"""How long we wait for the rest of a dead child's output: a grandchild may hold the pipe open for ever."""


class Exit(Struct, frozen=True):
    """How a child ended: its exit code (negative: the signal that killed it) and the last lines that it printed."""

    code: int
    output: str

    @property
    def reason(self) -> str:
        """For people: "was killed by SIGKILL", "ended with code 1"."""
        if self.code >= 0:
            return f"ended with code {self.code}"
        try:
            return f"was killed by {signal.Signals(-self.code).name}"
        except ValueError:
            return f"was killed by signal {-self.code}"


class Child:
    """A running child.

    `on_frame` hears each frame; `on_exit` hears once that the child is gone, after its last frame. Both are called on
    the event loop and must not block.
    """

    def __init__(self, on_frame: Callable[[Frame], None], on_exit: Callable[[Exit], None]) -> None:
        self._on_frame = on_frame
        self._on_exit = on_exit
        self._loop = asyncio.get_running_loop()
        self._gone: asyncio.Future[Exit] = self._loop.create_future()
        self._output: deque[bytes] = deque(maxlen=OUTPUT_LINES)
        self._unfinished = b""
        self._line: asyncio.Transport | None = None
        self._process: asyncio.SubprocessTransport | None = None
        self._line_lost = False
        self._silent = False
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    async def spawn(
        cls,
        module: str,
        *,
        on_frame: Callable[[Frame], None],
        on_exit: Callable[[Exit], None],
        environment: Mapping[str, str] | None = None,
        own_session: bool = True,
    ) -> "Child":
        """Start `python -m module`, which attaches with `transport.parent`. `environment` is added to our own.

        Where Linux weighs sessions before processes (autogroup), a child with its own gets as much of the processor as
        we do, however nice it is; one without leaves our process group when it attaches. Raises OSError where no
        process can be started.
        """
        child = cls(on_frame, on_exit)
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                await child._start(module, theirs.fileno(), {**os.environ, **(environment or {})}, own_session)
            except BaseException:
                ours.close()
                raise
        try:
            await child._loop.create_unix_connection(
                lambda: _Line(child._connected, child._on_frame, child._lost_line), sock=ours
            )
        except BaseException:
            child.kill()
            child._lost_line()
            raise
        return child

    async def _start(self, module: str, descriptor: int, environment: Mapping[str, str], own_session: bool) -> None:
        await self._loop.subprocess_exec(
            lambda: _Process(self._started, self._printed, self._process_exited, self._pipes_closed),
            sys.executable,
            "-m",
            module,
            str(descriptor),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            pass_fds=(descriptor,),
            start_new_session=own_session,
            env=environment,
        )

    @property
    def pid(self) -> int:
        return 0 if self._process is None else self._process.get_pid()

    @property
    def gone(self) -> bool:
        return self._gone.done()

    @property
    def output(self) -> str:
        """The last lines that the child printed."""
        lines = [*self._output, self._unfinished] if self._unfinished else list(self._output)
        return b"\n".join(lines).decode("utf-8", "replace").strip()

    def send(self, frame: Frame) -> None:
        """Send a frame; one to a child that is going is dropped, and `on_exit` tells the rest."""
        if self._line is not None and not self._line.is_closing():
            self._line.write(pack(frame))

    def kill(self) -> None:
        """End the child at once."""
        if self._process is not None and self._process.get_returncode() is None:
            self._process.kill()

    async def wait(self) -> Exit:
        """Return once the child is gone."""
        return await asyncio.shield(self._gone)

    async def close(self) -> None:
        """Hang up, which tells the child to go, and see that it does."""
        if self._line is not None:
            self._line.close()
        await self.wait()

    def _connected(self, line: asyncio.Transport) -> None:
        self._line = line

    def _started(self, process: asyncio.SubprocessTransport) -> None:
        self._process = process

    def _printed(self, data: bytes) -> None:
        *lines, self._unfinished = (self._unfinished + data).split(b"\n")
        self._output.extend(lines)

    def _lost_line(self) -> None:
        """A child without its line is of no use: it goes by itself, or is made to."""
        self._line_lost = True
        if not self._exited:
            self._set_timer(GRACE_SECONDS, self.kill)
        self._settle()

    def _process_exited(self) -> None:
        self._set_timer(LAST_WORDS_SECONDS, self._pipes_closed)
        self._settle()

    def _pipes_closed(self) -> None:
        self._silent = True
        self._settle()

    @property
    def _exited(self) -> bool:
        return self._process is not None and self._process.get_returncode() is not None

    def _set_timer(self, seconds: float, then: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, then)

    def _settle(self) -> None:
        """Gone is a child that has exited, whose line is drained and whose last words were heard."""
        if self._gone.done() or not (self._exited and self._line_lost and self._silent):
            return
        assert self._process is not None
        if self._timer is not None:
            self._timer.cancel()
        end = Exit(self._process.get_returncode() or 0, self.output)
        self._process.close()
        self._gone.set_result(end)
        self._on_exit(end)


class _Line(asyncio.Protocol):
    """The socket pair's end on our side."""

    def __init__(
        self,
        connected: Callable[[asyncio.Transport], None],
        heard: Callable[[Frame], None],
        lost: Callable[[], None],
    ) -> None:
        self._connected = connected
        self._heard = heard
        self._lost = lost
        self._reader = FrameReader()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._connected(self._transport)

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._reader.feed(data):
                self._heard(frame)
        except BrokenStream:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost()


class _Process(asyncio.SubprocessProtocol):
    """The child's life and its output."""

    def __init__(
        self,
        started: Callable[[asyncio.SubprocessTransport], None],
        printed: Callable[[bytes], None],
        exited: Callable[[], None],
        silent: Callable[[], None],
    ) -> None:
        self._started = started
        self._printed = printed
        self._exited = exited
        self._silent = silent

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._started(cast("asyncio.SubprocessTransport", transport))

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self._printed(data)

    def process_exited(self) -> None:
        self._exited()

    def connection_lost(self, exc: Exception | None) -> None:
        self._silent()
