"""How the walk of a batch is told to end early, and why.

The reason travels with the stop: a batch that was cancelled or has expired gives its other lines up, one whose server
stops keeps them for its next walk.
"""

import asyncio

from batchyard.domain.result import Failure, Fault, Outcome
from batchyard.pipeline.stop import Stop

REASONS = {
    Outcome.CANCELLED: Failure(
        "batch_cancelled", "The batch was cancelled before this request could run.", Fault.CANCELLED
    ),
    Outcome.EXPIRED: Failure(
        "batch_expired", "The completion window closed before this request could run.", Fault.CANCELLED
    ),
}
"""What the error line of a request says that never ran."""


class Leash:
    """One walk's. Whatever ends it, what is in flight may end too, for a while.

    `outcome` is what becomes of lines that have not run, None: they wait for the next walk. `halted` says that the walk
    shall leave as soon as it can.
    """

    def __init__(self, grace_seconds: float) -> None:
        self._grace_seconds = grace_seconds
        self._timer: asyncio.TimerHandle | None = None
        self.stop = Stop()
        self.outcome: Outcome | None = None
        self.halted = False

    def cancel(self) -> None:
        """The batch was cancelled: that goes before a deadline."""
        self.outcome = Outcome.CANCELLED
        self._ask(self._grace_seconds)

    def expire(self) -> None:
        """The deadline has passed."""
        if self.outcome is None:
            self.outcome = Outcome.EXPIRED
        self._ask(self._grace_seconds)

    def halt(self, grace_seconds: float) -> None:
        """The server stops."""
        self.halted = True
        self._ask(grace_seconds)

    def close(self) -> None:
        """The walk is over."""
        if self._timer is not None:
            self._timer.cancel()

    def _ask(self, grace_seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self.stop.asked.set()
        due = loop.time() + grace_seconds
        if self._timer is not None and self._timer.when() <= due:
            return
        self.close()
        self._timer = loop.call_at(due, self.stop.now.set)
