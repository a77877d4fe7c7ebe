"""What time it is: the only place that asks the system.

Timers belong to the event loop (`loop.time`, `asyncio.timeout`); a `Clock` says the date.
"""

import time
from typing import Protocol


class Clock(Protocol):
    """The date. It may jump; measure durations with the event loop's time or `time.perf_counter`."""

    def now(self) -> float:
        """Seconds since 1970, UTC."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        return time.time()  # noqa: TID251 - this is the one place
