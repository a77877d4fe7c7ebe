"""An offload without threads: a step runs inline, after a while, in the order of the calls."""

import asyncio
from collections.abc import Callable
from random import Random
from typing import TypeVar

T = TypeVar("T")


class InlineOffload:
    """Takes virtual time before a step, as a disk does, and after it, as a busy loop does."""

    def __init__(self, random: Random, slowest_seconds: float = 0.02) -> None:
        self._random = random
        self._slowest_seconds = slowest_seconds
        self._turn = asyncio.Lock()

    async def __call__(self, step: Callable[[], T], /) -> T:
        async with self._turn:
            await asyncio.sleep(self._random.uniform(0, self._slowest_seconds))
            result = step()
            await asyncio.sleep(self._random.uniform(0, self._slowest_seconds) * 0.1)
            return result
