"""Batches that were read and found no room among their project's enqueued tokens: who waits, in which order.

A batch that waits takes no part in anything: its walk has left, and is called again when tokens may have come free. It
stands in a line, of its project or of its model there, and only the first of a line tries: else small ones would go
past a large one for ever.
"""

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable

from msgspec import Struct

from batchyard.domain.access import ProjectId
from batchyard.domain.batch import Batch, BatchId

Line = tuple[ProjectId, str | None]
"""All that wait for the same tokens: of a project, and of one model where its project has no bound."""
_Place = tuple[int, int, int]
"""By priority, then by the second of creation; of one second, who came first to the line goes first."""


class Load(Struct, frozen=True):
    """What a batch brings: its model (None: several), its lines, and how many tokens it will hold, by estimate."""

    model: str | None
    lines: int
    tokens: int


class NoRoom(Exception):
    """The walk has left because the batch is parked."""


class _Parked(Struct, frozen=True):
    load: Load
    line: Line
    place: _Place
    seen: int


class Parking:
    """See the module. `on_news` is called whenever somebody may try again."""

    def __init__(self) -> None:
        self._parked: dict[BatchId, _Parked] = {}
        self._lines: dict[Line, list[_Place]] = {}
        self._arrivals = 0
        self._news: Counter[ProjectId] = Counter()
        self.on_news: Callable[[], None] = lambda: None

    def load_of(self, id: BatchId) -> Load | None:
        """What a parked batch brings: it need not be read again."""
        parked = self._parked.get(id)
        return parked.load if parked else None

    def is_behind(self, batch: Batch, line: Line) -> bool:
        """Whether others of the line go before a batch."""
        places = self._lines.get(line)
        return bool(places) and places[0] < self._place(batch)

    def news_of(self, project: ProjectId) -> int:
        """How much has happened in a project so far. Asked before a try, and given to `park` when that failed."""
        return self._news[project]

    def park(self, batch: Batch, line: Line, load: Load, seen: int) -> None:
        """Let a batch wait in its line until something new happens."""
        place = self._place(batch)
        self._remove(batch.id)
        self._arrivals += 1
        parked = _Parked(load, line, place, seen)
        self._parked[batch.id] = parked
        insort(self._lines.setdefault(line, []), parked.place)

    def leave(self, batch: Batch) -> None:
        """The batch found room, or needs none any more: the next of its line may try."""
        if self._remove(batch.id):
            self.tell(batch.project)

    def tell(self, project: ProjectId) -> None:
        """Tokens of a project may have come free."""
        self._news[project] += 1
        if self._parked:
            self.on_news()

    def tell_all(self) -> None:
        """Anything may have changed, the limits too."""
        self._news.update({parked.line[0] for parked in self._parked.values()})

    def may_try(self, id: BatchId) -> bool:
        """Whether it is of any use to walk a batch now."""
        parked = self._parked.get(id)
        if parked is None:
            return True
        return parked.seen != self._news[parked.line[0]] and self._lines[parked.line][0] == parked.place

    def _place(self, batch: Batch) -> _Place:
        """Where a batch stands, or would: one that stands there keeps its place among those of its second."""
        parked = self._parked.get(batch.id)
        return -batch.priority, batch.created_at, self._arrivals if parked is None else parked.place[2]

    def _remove(self, id: BatchId) -> bool:
        parked = self._parked.pop(id, None)
        if parked is None:
            return False
        places = self._lines[parked.line]
        del places[bisect_left(places, parked.place)]
        if not places:
            del self._lines[parked.line]
        return True
