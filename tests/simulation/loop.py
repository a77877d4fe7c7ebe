"""An event loop whose time is virtual and whose network is in memory; it runs the same way every time.

Time jumps to the next timer when nothing is left to do. There are no threads, sockets, signals or processes. Tasks hash
by the order of their making, so that sets of tasks are walked alike in every run.
"""

import asyncio
import contextlib
import inspect
import socket
import warnings
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Protocol, TypeVar

from tests.simulation.disk import PowerCut

T = TypeVar("T")

MOST_STEPS = 1_000_000
MOST_WAITS = 100


class Deadlock(AssertionError):
    """Everything waits, and for nothing that could happen."""


class Network(Protocol):
    """Where connections go."""

    async def connect(self, protocol: asyncio.BaseProtocol, host: str, port: int) -> asyncio.Transport: ...


class _Selector:
    """Selects nothing, and lets the time pass that the loop would have waited."""

    def __init__(self, loop: "SimulatedLoop") -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Deadlock("nothing is ready, and no timer is set")
        self._loop.pass_time(timeout)
        return []

    def close(self) -> None: ...


class _Task(asyncio.Task[Any]):
    number = 0

    def __hash__(self) -> int:
        return self.number


class _Future(asyncio.Future[Any]):
    number = 0

    def __hash__(self) -> int:
        return self.number


class SimulatedLoop(asyncio.BaseEventLoop):
    """See the module. `cut_at_step` ends the run before that turn of the loop."""

    def __init__(self, network: Network | None = None, *, cut_at_step: int | None = None) -> None:
        super().__init__()
        self.network = network
        self.steps = 0
        self.tasks: dict[asyncio.Task[Any], None] = {}
        self.failures: list[dict[str, Any]] = []
        self._cut_at_step = cut_at_step
        self._now = 0.0
        self._clock_resolution = 1e-9
        self._selector = _Selector(self)
        self._made = 0
        self.set_task_factory(_make_task)
        self.set_exception_handler(lambda _, context: self.failures.append(context))

    def run(self, main: Coroutine[Any, Any, T], at_end: Callable[[], None] = lambda: None) -> T:
        """Run to the end, or to where the power is cut; then nothing of the run is left that could still act.

        `at_end` is called before what is left is dropped, and takes the world away from its `finally` blocks.
        """
        try:
            return self.run_until_complete(main)
        finally:
            at_end()
            self.drop_everything()

    def time(self) -> float:
        return self._now

    def pass_time(self, seconds: float) -> None:
        self.steps += 1
        if self.steps == self._cut_at_step:
            raise PowerCut(f"before step {self.steps}")
        if self.steps > MOST_STEPS:
            raise Deadlock(f"no end after {self.steps} steps")
        self._now += seconds

    def cut_soon(self, turns: int = 1) -> None:
        """End the run before so many turns have passed."""
        self._cut_at_step = self.steps + turns

    def next_number(self) -> int:
        self._made += 1
        return self._made

    def create_future(self) -> asyncio.Future[Any]:
        future = _Future(loop=self)
        future.number = self.next_number()
        return future

    async def create_connection(self, protocol_factory: Any, host: Any = None, port: Any = None, **_: Any) -> Any:
        """A connection to an upstream of the network."""
        if self.network is None:
            raise ConnectionRefusedError("there is no network")
        protocol = protocol_factory()
        return await self.network.connect(protocol, host, port), protocol

    async def getaddrinfo(self, host: Any, port: Any, **_: Any) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        raise AssertionError("a thread in a simulated run")

    def _process_events(self, event_list: list[Any]) -> None: ...

    def _write_to_self(self) -> None: ...

    def drop_everything(self) -> None:
        """Close every coroutine where it waits. What their `finally` blocks still try must not matter any more."""
        tasks = [task for task in self.tasks if not task.done()]
        self.tasks.clear()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # what a task had not begun yet was never awaited
            for task in tasks:
                task._log_destroy_pending = False  # pyright: ignore
                _close(task.get_coro())
        self.close()


def _close(coroutine: Any) -> None:
    """Close a coroutine even where a `finally` block waits for something first."""
    for _ in range(MOST_WAITS):
        with contextlib.suppress(BaseException):
            coroutine.close()
        if inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED:
            return
    raise AssertionError(f"{coroutine} will not end")


def _make_task(loop: Any, coro: Coroutine[Any, Any, T] | Generator[Any, None, T], **options: Any) -> Any:
    task = _Task(coro, loop=loop, **options)
    task.number = loop.next_number()
    loop.tasks[task] = None
    task.add_done_callback(loop.tasks.pop)
    return task
