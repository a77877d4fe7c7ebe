"""The contract of an offload: where blocking steps run, so that the event loop does not wait for them."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

T = TypeVar("T")


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
