"""Whose turn is it, among many? Found without looking at all of them, in the order that `policy/order.py` sets.

Within a project the order does not change while its batches wait: time passes for all alike. So each project keeps its
own in a heap, and only the first of each are compared.
"""

from collections.abc import Iterator, Mapping
from heapq import heappop, heappush
from typing import Generic, TypeVar

from batchyard.domain.access import ProjectId
from batchyard.domain.batch import Batch, BatchId
from batchyard.policy.order import Standing, rank

T = TypeVar("T")
Rank = tuple[object, ...]


def standing_of(batch: Batch, inflight: int, now: float) -> Standing:
    """Where a batch stands whose project has so much under way."""
    return Standing(
        project=batch.project,
        inflight=inflight,
        priority=batch.priority,
        slack_seconds=float("inf") if batch.deadline_at is None else batch.deadline_at - now,
        age_seconds=now - batch.created_at,
        id=batch.id,
    )


class Waiting(Generic[T]):
    """Things that wait, one for each batch.

    With `every`, each so many-th turn of a project goes to whoever of it has waited longest, wherever that stands: then
    nobody waits for ever behind others.
    """

    def __init__(self, every: int | None = None) -> None:
        self._every = every
        self._projects: dict[ProjectId, _Project[T]] = {}

    def __len__(self) -> int:
        return sum(len(project.things) for project in self._projects.values())

    def __iter__(self) -> Iterator[T]:
        return (thing for project in self._projects.values() for thing in project.things.values())

    def __contains__(self, batch: Batch) -> bool:
        project = self._projects.get(batch.project)
        return project is not None and batch.id in project.things

    def add(self, batch: Batch, thing: T) -> None:
        """Let a batch wait, as the last that came. It must not wait already."""
        project = self._projects.get(batch.project)
        if project is None:
            project = self._projects[batch.project] = _Project[T]()
        project.add(_rank(batch), batch.id, thing)

    def remove(self, batch: Batch) -> None:
        """Let a batch wait no more; nothing happens where it does not."""
        project = self._projects.get(batch.project)
        if project is not None and project.things.pop(batch.id, None) is not None and not project.things:
            del self._projects[batch.project]

    def first(self, inflight: Mapping[ProjectId, int], *, idle: bool = False) -> T | None:
        """Whose turn it is where projects have so much under way, None where nobody waits; it goes on waiting.

        With `idle`, only projects count that have nothing under way.
        """
        best: tuple[tuple[int, Rank], _Project[T]] | None = None
        for id, project in self._projects.items():
            under_way = inflight.get(id, 0)
            if idle and under_way:
                continue
            at = under_way, project.best()[1:]  # urgency says nothing between projects
            if best is None or at < best[0]:
                best = at, project
        return best[1].next(self._every) if best else None


class _Project(Generic[T]):
    """What waits of one project: by its place in line, and in the order in which it came."""

    def __init__(self) -> None:
        self.things: dict[BatchId, T] = {}
        self._heap: list[tuple[Rank, BatchId]] = []  # with some that have left, until they come to its top
        self._listed: set[BatchId] = set()
        self._turns = 0

    def add(self, at: Rank, id: BatchId, thing: T) -> None:
        self.things[id] = thing
        if id not in self._listed:
            self._listed.add(id)
            heappush(self._heap, (at, id))

    def best(self) -> Rank:
        """Where the first stands."""
        while self._heap[0][1] not in self.things:
            self._listed.remove(heappop(self._heap)[1])
        return self._heap[0][0]

    def next(self, every: int | None) -> T:
        self._turns += 1
        if every and self._turns % every == 0:
            return next(iter(self.things.values()))
        return self.things[self._heap[0][1]]


def _rank(batch: Batch) -> Rank:
    """The place of a batch within its project, as of the beginning of time: only differences count."""
    return rank(standing_of(batch, 0, 0.0))
