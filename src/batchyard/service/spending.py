"""What projects spend: answers that people waited for are added up here, and anyone may ask for the sums of days.

Batches are charged by the store, in the transaction that ends them. The calls of people are too many for a transaction
each: they are added up in memory and written every few seconds, and when the server stops. A server that is killed
forgets at most those seconds.
"""

import asyncio
import logging
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from batchyard.clock import Clock
from batchyard.domain.access import Action, Caller, ProjectId
from batchyard.domain.errors import BatchyardError
from batchyard.domain.price import DAY_SECONDS, Price, Spent, day_of
from batchyard.domain.result import Usage
from batchyard.service import checks
from batchyard.service.access import require
from batchyard.store import Store

DAYS_LIMIT = 180
DAYS_DEFAULT = 7
FLUSH_SECONDS = 5.0

_log = logging.getLogger(__name__)
_Row = tuple[ProjectId, int, str, str | None]


class Day(Struct, frozen=True):
    """A day (UTC) by its first second, and what was spent on it."""

    start: int
    spent: Sequence[Spent]

    @property
    def end(self) -> int:
        return self.start + DAY_SECONDS


class Days(Struct, frozen=True):
    """Days that follow each other. `next_start` is where to go on, None: that was all."""

    days: Sequence[Day]
    next_start: int | None


class Spending:
    """See the module."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._unwritten: dict[_Row, Spent] = {}

    def note(self, project: ProjectId, model: str, usage: Usage, price: Price | None) -> None:
        """An answer came for somebody who waited for it."""
        spent = Spent(
            project=project,
            day=day_of(int(self._clock.now())),
            model=model,
            batch=False,
            currency=price.currency if price else None,
            requests=1,
            usage=usage,
            nanos=price.cost(usage, batch=False) if price else 0,
        )
        self._add(spent)

    async def flush(self) -> None:
        """Write what was noted. What cannot be written now is kept for the next time."""
        noted, self._unwritten = self._unwritten, {}
        if not noted:
            return
        try:
            await self._store.spending.add(list(noted.values()))
        except BatchyardError as error:
            _log.warning("spending_not_written", extra={"reason": str(error)})
            for spent in noted.values():
                self._add(spent)

    async def keep_flushed(self) -> None:
        """A duty: write now and then, and once more at the end."""
        try:
            while True:
                await asyncio.sleep(FLUSH_SECONDS)
                await self.flush()
        finally:
            await self.flush()

    async def days(
        self,
        caller: Caller,
        start: int,
        *,
        end: int | None = None,
        limit: int | None = None,
        projects: Sequence[str] = (),
    ) -> Days:
        """What was spent on the days from the one of `start` to before `end`, a limited number of them.

        The operator sees all projects, or those that are named; anyone else only their own.
        """
        require(caller, Action.VIEW_COSTS)
        first = day_of(checks.in_range(start, 0, None, "start_time"))
        most = DAYS_DEFAULT if limit is None else checks.in_range(limit, 1, None, "limit")
        starts = range(first, int(self._clock.now()) + 1 if end is None else end, DAY_SECONDS)
        shown = starts[: min(most, DAYS_LIMIT)]
        after = shown[-1] + DAY_SECONDS if shown else first
        await self.flush()
        found = await self._store.spending.between(first, after, None if caller.operator else caller.project)
        wanted = [each for each in found if not projects or each.project in projects]
        days = [Day(day, [each for each in wanted if each.day == day]) for day in shown]
        return Days(days, after if starts[len(shown) :] else None)

    def _add(self, spent: Spent) -> None:
        row = (spent.project, spent.day, spent.model, spent.currency)
        known = self._unwritten.get(row)
        self._unwritten[row] = spent if known is None else _sum(known, spent)


def _sum(one: Spent, other: Spent) -> Spent:
    pairs = zip(msgspec.structs.astuple(one.usage), msgspec.structs.astuple(other.usage), strict=True)
    return msgspec.structs.replace(
        one,
        requests=one.requests + other.requests,
        usage=Usage(*(sum(pair) for pair in pairs)),
        nanos=one.nanos + other.nanos,
    )
