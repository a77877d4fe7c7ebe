"""Asking the engines of a batch's models, side by side, until every line that they can answer is answered.

Most batches have one model. Where several are allowed, each is asked at its own pace: what one engine can do says
nothing about another. One that cannot serve now holds up none of the others, and is tried again while they are at it.
"""

import asyncio
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from random import Random

from msgspec import Struct, structs

from batchyard.config import DispatchSettings
from batchyard.domain.batch import Batch
from batchyard.domain.errors import BatchyardError
from batchyard.domain.request import Request
from batchyard.journal import Journal
from batchyard.pipeline.backlog import Held
from batchyard.pipeline.dispatch import dispatch
from batchyard.pipeline.share import Shares, Sharing
from batchyard.pipeline.stop import Stop
from batchyard.pipeline.tally import Tally
from batchyard.pipeline.underway import Underway

AGAIN_SECONDS = 30.0


class Asked(Struct, frozen=True):
    """One model, and what is left to ask of it: the requests without a result, each time anew."""

    model: str
    requests: Callable[[], Iterator[Request]]


class Asking(Struct, frozen=True, kw_only=True):
    """With what a batch's requests are asked. `engine_of` raises Unavailable where nobody answers for a model now.

    `retried` hears how many requests of a model were asked again.
    """

    batch: Batch
    engine_of: Callable[[str], Sharing]
    journal: Journal
    settings: DispatchSettings
    stop: Stop
    shares: Shares
    underway: Underway
    retried: Callable[[str, int], None]
    random: Random
    held: Held

    async def all(self, asked: Sequence[Asked]) -> BatchyardError | None:
        """Ask everything, or until told to stop. What kept an engine from serving, now that the others are done."""
        others = _Others(len(asked))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._one(each, others)) for each in asked]
        return next((error for task in tasks if (error := task.result()) is not None), None)

    async def _one(self, asked: Asked, others: "_Others") -> BatchyardError | None:
        """Ask one model, again and again while others are at it; what kept it from serving in the end."""
        while True:
            try:
                await self._dispatch(asked)
            except BatchyardError as error:
                if not await others.busy(self.stop, AGAIN_SECONDS):
                    return error
            else:
                others.leave()
                return None

    async def _dispatch(self, asked: Asked) -> None:
        share = self.engine_of(asked.model).share(self.batch, self.settings.request_timeout_seconds)
        self.shares.add(share)
        settings = structs.replace(self.settings, request_timeout_seconds=math.inf)  # the share keeps the time
        requests, abilities, tally, journal = asked.requests(), await share.start(), Tally(), self.journal
        try:
            with self.underway.asked(self.batch.id, asked.model, tally):
                await dispatch(
                    requests,
                    share,
                    abilities,
                    journal,
                    settings,
                    tally,
                    self.stop,
                    random=self.random,
                    held=self.held,
                    groups=share.groups,
                )
        finally:
            self.retried(asked.model, tally.retries)


class _Others:
    """Who is still asking."""

    def __init__(self, asking: int) -> None:
        self._asking = asking
        self._alone = asyncio.Event()

    def leave(self) -> None:
        self._asking -= 1
        if not self._asking:
            self._alone.set()

    async def busy(self, stop: Stop, seconds: float) -> bool:
        """Step aside for a while; whether others were asking all the time, so that it is worth another try."""
        self.leave()
        if stop.asked.is_set():
            return False
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._alone.wait()
                return False
        self._asking += 1
        return True
