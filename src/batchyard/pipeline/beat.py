"""A common beat for walks: where many go at once, they take the steps that share a sync together.

A disk that is quick, or a processor that is busy, leaves no queue in which such steps would meet by themselves.
"""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager

FEW = 8
SECONDS = 0.02


class Beat:
    """Up to a few walks go on at once, more of them wait for the next beat."""

    def __init__(self, seconds: float = SECONDS, few: int = FEW) -> None:
        self._seconds = seconds
        self._few = few
        self._walking = 0
        self._next: asyncio.Event | None = None

    @contextmanager
    def walking(self) -> Generator[None]:
        self._walking += 1
        try:
            yield
        finally:
            self._walking -= 1

    async def wait(self) -> None:
        """Wait until the steps that come now are taken."""
        if self._walking <= self._few:
            return
        if self._next is None or self._next.is_set():
            self._next = asyncio.Event()
            asyncio.get_running_loop().call_later(self._seconds, self._next.set)
        await self._next.wait()
