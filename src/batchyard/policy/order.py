"""Whose turn is it? First the project that has least; within it the batch that its owner calls more urgent, then the
one with the least time to spare, then the oldest.

Fairness between projects goes first, so that one with thousands of batches, or with urgent ones only, costs another
nothing but its share. Between projects that have the same, urgency says nothing: each judges its own.
"""

from collections.abc import Callable, Iterable
from typing import TypeVar

from msgspec import Struct

T = TypeVar("T")


class Standing(Struct, frozen=True, kw_only=True):
    """Where a batch stands among those that wait.

    `inflight` is what its whole project has under way (requests in an engine, or batches on their walk). Of batches of
    one project those with a higher `priority` go first. `slack_seconds` is the time left to its deadline, infinite for
    none and below zero past it. `age_seconds` is how long it has been there. `id` settles what is equal otherwise.
    """

    project: str
    inflight: int
    priority: int = 0
    slack_seconds: float
    age_seconds: float
    id: str


def rank(standing: Standing) -> tuple[int, float, float, str]:
    """A key for sorting within a project: the least comes first. No two batches have the same."""
    return -standing.priority, standing.slack_seconds, -standing.age_seconds, standing.id


def first(waiting: Iterable[T], standing: Callable[[T], Standing]) -> T:
    """The one whose turn it is: the project's whose own first stands best. Raises ValueError where nobody waits."""
    firsts: dict[str, tuple[Standing, T]] = {}
    for each in waiting:
        its = standing(each)
        best = firsts.get(its.project)
        if best is None or rank(its) < rank(best[0]):
            firsts[its.project] = its, each
    return min(firsts.values(), key=lambda pair: (pair[0].inflight, *rank(pair[0])[1:]))[1]
