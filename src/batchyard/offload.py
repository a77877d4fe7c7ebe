"""The contract of an offload: where blocking steps run, so that the event loop does not wait for them."""

import asyncio
import os
import sys
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from threading import Lock, get_native_id
from typing import Any, Generic, Protocol, TypeVar

from msgspec import Struct

T = TypeVar("T")
W = TypeVar("W")


class Offload(Protocol):
    """Runs blocking steps one after another, in the order in which they were given."""

    async def __call__(self, step: Callable[[], T], /) -> T: ...


class ThreadOffload:
    """One thread of our own: order is kept, and a slow disk delays nothing but the disk."""

    def __init__(self, name: str = "disk") -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    async def __call__(self, step: Callable[[], T], /) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, step)

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)


class Lanes:
    """Any number of offloads on a few threads: each keeps its own order, and none waits while a thread is free.

    Where cores are short, threads with a `niceness` let others go first; on Linux, which knows one for each thread.
    """

    def __init__(self, threads: int, name: str = "lane", niceness: int = 0) -> None:
        begin = partial(_be_nice, niceness) if niceness else None
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix=name, initializer=begin)

    def lane(self) -> Offload:
        """A new offload. Nothing is left of it once its steps have run."""
        return _Lane(self._pool)

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)


def _be_nice(niceness: int) -> None:
    """Raise the niceness of this thread, where that is allowed."""
    if sys.platform == "linux":
        thread = get_native_id()
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + niceness)


class _Lane:
    """Its steps wait here, and are in the pool as one piece of work at most: so they keep their order there."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self._lock = Lock()
        self._steps: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._at_work = False

    async def __call__(self, step: Callable[[], T], /) -> T:
        future: Future[T] = Future()
        with self._lock:
            self._steps.append((future, step))
            begins, self._at_work = not self._at_work, True
        if begins:
            self._pool.submit(self._work)
        return await asyncio.wrap_future(future)

    def _work(self) -> None:
        while (waiting := self._next()) is not None:
            future, step = waiting
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(step())
            except BaseException as error:
                future.set_exception(error)

    def _next(self) -> tuple[Future[Any], Callable[[], Any]] | None:
        with self._lock:
            if self._steps:
                return self._steps.popleft()
            self._at_work = False
            return None


class Wish(Struct, Generic[W], eq=False):
    """Something that shall be done together with what others wish. Who does it says its result or its error."""

    what: W
    loop: asyncio.AbstractEventLoop
    result: Any = None
    error: BaseException | None = None
    done: bool = False
    withdrawn: bool = False

    @property
    def wanted(self) -> bool:
        """Whether somebody waits for it."""
        return not self.withdrawn and not self.loop.is_closed()


class Together(Generic[W]):
    """Does in one step whatever waits for an offload, where that costs hardly more than one of it alone (a sync, say).

    Each caller waits for its own turn, but the first whose turn comes has everything done that waits by then.
    `do` blocks; what it raises is raised to all whom it was done for. A wish whose caller was cancelled before is left.
    """

    def __init__(self, offload: Offload, do: Callable[[Sequence[Wish[W]]], None], *, most: int = 256) -> None:
        self._offload = offload
        self._do = do
        self._most = most
        self._wishes: deque[Wish[W]] = deque()

    async def __call__(self, what: W) -> Any:
        wish = Wish(what, asyncio.get_running_loop())
        self._wishes.append(wish)
        try:
            return await self._offload(lambda: self._end(wish))
        except BaseException:
            wish.withdrawn = True
            raise

    def _end(self, wish: Wish[W]) -> Any:
        while not wish.done:
            count = min(self._most, len(self._wishes))
            self._do_all([each for each in (self._wishes.popleft() for _ in range(count)) if each.wanted])
        if wish.error is not None:
            raise wish.error
        return wish.result

    def _do_all(self, wishes: Sequence[Wish[W]]) -> None:
        try:
            self._do(wishes)
        except BaseException as error:
            for wish in wishes:
                wish.error = error
        for wish in wishes:
            wish.done = True
