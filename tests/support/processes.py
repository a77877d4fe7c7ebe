"""Waiting for other processes: that they end, or that they have done something."""

import asyncio
import os
import select
import sys
import time
from collections.abc import Callable, Iterable

ENVIRONMENT = {"PYTHONPATH": os.pathsep.join([os.getcwd(), *(path for path in sys.path if path)])}
"""Lets a child import what the tests import."""


def all_end_within(pids: Iterable[int], seconds: float) -> bool:
    """Wait until none of the processes runs any more; False where one still does."""
    deadline = time.monotonic() + seconds
    return all(ended_within(pid, max(0.0, deadline - time.monotonic())) for pid in pids)


def ended_within(pid: int, seconds: float) -> bool:
    """Wait until a process, not necessarily our child, has ended."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], seconds)[0])
    finally:
        os.close(handle)


async def until(condition: Callable[[], bool], *, seconds: float = 20.0) -> None:
    """Wait for what another process does; it sends us no event. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
