"""Waiting for processes that are not our children to end."""

import os
import select
import time
from collections.abc import Iterable


def all_end_within(pids: Iterable[int], seconds: float) -> bool:
    """Wait until none of the processes runs any more; False where one still does."""
    deadline = time.monotonic() + seconds
    return all(_ends_before(pid, deadline) for pid in pids)


def _ends_before(pid: int, deadline: float) -> bool:
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], max(0.0, deadline - time.monotonic()))[0])
    finally:
        os.close(handle)
