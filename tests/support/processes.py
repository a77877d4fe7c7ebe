"""Waiting for other processes: that they end, or that they have done something."""

import asyncio
import os
import select
import time
from collections.abc import Callable, Iterable


def all_end_within(pids: Iterable[int], seconds: float) -> bool:
    """Wait until none of the processes runs any more; False where one still does."""
    deadline = time.monotonic() + seconds
    return all(_ends_before(pid, deadline) for pid in pids)


async def until(condition: Callable[[], bool], *, seconds: float = 20.0) -> None:
    """Wait for what another process does; it sends us no event. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def _ends_before(pid: int, deadline: float) -> bool:
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], max(0.0, deadline - time.monotonic()))[0])
    finally:
        os.close(handle)
