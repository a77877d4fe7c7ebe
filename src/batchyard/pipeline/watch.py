"""Beside the dispatch of a batch: its counts become visible, and its deadline is kept."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from batchyard.clock import Clock
from batchyard.domain.batch import Batch, Counts
from batchyard.domain.errors import BatchyardError
from batchyard.domain.result import Usage
from batchyard.pipeline import rest
from batchyard.pipeline.folder import Opened
from batchyard.pipeline.leash import Leash
from batchyard.pipeline.share import Share

_log = logging.getLogger(__name__)


Count = Callable[[Counts, Usage], Awaitable[None]]
"""Writes how far the batch is."""


class Watch:
    """Of one dispatch. Runs until it is cancelled."""

    def __init__(
        self, batch: Batch, count: Count, clock: Clock, leash: Leash, share: Share, count_seconds: float
    ) -> None:
        self._batch = batch
        self._count = count
        self._clock = clock
        self._leash = leash
        self._share = share
        self._count_seconds = count_seconds
        self._shown: Counts | None = batch.counts

    async def run(self, run: Opened) -> None:
        while not self._leash.stop.asked.is_set():
            await self._show(run)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause()):
                    await self._leash.stop.asked.wait()
            self._keep_the_deadline()
        await self._share.close()
        while True:  # what is in flight may end
            await asyncio.sleep(self._count_seconds)
            await self._show(run)

    def _pause(self) -> float:
        left = self._seconds_left()
        return self._count_seconds if left is None else max(0.0, min(left, self._count_seconds))

    def _keep_the_deadline(self) -> None:
        left = self._seconds_left()
        if left is not None and left <= 0:
            self._leash.expire()

    def _seconds_left(self) -> float | None:
        return None if self._batch.deadline_at is None else self._batch.deadline_at - self._clock.now()

    async def _show(self, run: Opened) -> None:
        """Write what is durable, where it has changed. Not being able to do so is no reason to stop."""
        counts, usage = rest.counted(run)
        if counts == self._shown:
            return
        try:
            await self._count(counts, usage)
            self._shown = counts
        except BatchyardError as error:
            _log.warning("count_not_written", extra={"batch_id": self._batch.id, "reason": str(error)})
