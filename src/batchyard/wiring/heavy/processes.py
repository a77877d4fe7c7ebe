"""The processes for heavy steps: started when needed, one step at a time each, ended when they have been idle."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import msgspec

from batchyard.domain.errors import Unavailable
from batchyard.transport.child import Child, Exit
from batchyard.transport.frames import Frame
from batchyard.wiring.heavy.wire import Kind, Progress, Trouble, decode, encode, error_of

MODULE = "batchyard.wiring.heavy"
IDLE_SECONDS = 60.0

OnProgress = Callable[[Progress], None]


class Died(Exception):
    """The process ended before the step did."""


class Process:
    """One process. It does one step at a time."""

    def __init__(self) -> None:
        self._child: Child | None = None
        self._number = 0
        self._step: asyncio.Future[bytes] | None = None
        self._on_progress: OnProgress | None = None
        self._objection: BaseException | None = None
        self._killed = False

    @classmethod
    async def start(cls) -> "Process":
        """Raises Unavailable where no process can be started."""
        process = cls()
        try:
            process._child = await Child.spawn(
                MODULE, on_frame=process._heard, on_exit=process._exited, own_session=False
            )
        except OSError as error:
            raise Unavailable(
                f"No process for large files can be started: {error.strerror or error}.",
                remedy="Give the server room for more processes.",
            ) from error
        return process

    @property
    def pid(self) -> int:
        return 0 if self._child is None else self._child.pid

    @property
    def usable(self) -> bool:
        """Whether it can do another step."""
        return self._child is not None and not self._child.gone and not self._killed

    async def carry_out(
        self, kind: Kind, step: msgspec.Struct, on_progress: OnProgress, on_begin: Callable[[], None] | None = None
    ) -> bytes:
        """Have a step done; its result as bytes. Raises what it raised, what `on_progress` raised, and Died.

        `tell` reaches it from `on_begin` on. A caller that is cancelled ends the process with the step.
        """
        assert self._child is not None and self._step is None
        self._number += 1
        self._on_progress, self._objection = on_progress, None
        self._step = asyncio.get_running_loop().create_future()
        self._child.send(Frame(self._number, kind, encode(step)))
        if self._child.gone:
            self._step.set_exception(Died("it had ended before"))
        if on_begin is not None:
            on_begin()
        try:
            return await self._step
        except asyncio.CancelledError:
            self._killed = True
            self._child.kill()
            raise
        finally:
            self._step = None

    def tell(self, kind: Kind, value: msgspec.Struct) -> None:
        """Say something to the step under way."""
        if self._step is not None and self._child is not None:
            self._child.send(Frame(self._number, kind, encode(value)))

    async def close(self) -> None:
        if self._child is not None:
            self._child.kill()
            await self._child.close()

    def _heard(self, frame: Frame) -> None:
        step = self._step
        if step is None or step.done() or frame.number != self._number:
            return
        match frame.kind:
            case Kind.PROGRESS:
                self._tell_progress(decode(frame.data, Progress))
            case Kind.DONE:
                step.set_result(frame.data)
            case Kind.STOPPED:
                step.set_exception(self._objection or Died("it stopped by itself"))
            case _:
                step.set_exception(error_of(decode(frame.data, Trouble)))

    def _tell_progress(self, progress: Progress) -> None:
        assert self._on_progress is not None and self._child is not None
        if self._objection is not None:
            return
        try:
            self._on_progress(progress)
        except Exception as objection:
            self._objection = objection
            self._child.send(Frame(self._number, Kind.STOP))

    def _exited(self, end: Exit) -> None:
        if self._step is not None and not self._step.done():
            self._step.set_exception(Died(f"it {end.reason}"))


class Processes:
    """So many at most; `close` must be awaited."""

    def __init__(self, most: int, idle_seconds: float = IDLE_SECONDS) -> None:
        self._idle_seconds = idle_seconds
        self._turns = asyncio.Semaphore(most)
        self._idle: list[Process] = []
        self._timer: asyncio.TimerHandle | None = None
        self._ending: set[asyncio.Task[None]] = set()  # close() waits for them

    @property
    def idle(self) -> list[Process]:
        """Those that wait for work."""
        return [process for process in self._idle if process.usable]

    @asynccontextmanager
    async def one(self) -> AsyncGenerator[Process]:
        """A process for one step, once there is one; it comes back with the end of the block. Raises Unavailable."""
        async with self._turns:
            process = self._waiting() or await Process.start()
            try:
                yield process
            finally:
                if process.usable:
                    self._keep(process)
                else:
                    self._end(process)

    async def close(self) -> None:
        self._end_idle()
        if self._ending:
            await asyncio.wait(self._ending)

    def _waiting(self) -> Process | None:
        while self._idle:
            process = self._idle.pop()
            if process.usable:
                return process
            self._end(process)
        return None

    def _keep(self, process: Process) -> None:
        self._idle.append(process)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(self._idle_seconds, self._end_idle)

    def _end_idle(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        processes, self._idle = self._idle, []
        for process in processes:
            self._end(process)

    def _end(self, process: Process) -> None:
        task = asyncio.get_running_loop().create_task(process.close())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
