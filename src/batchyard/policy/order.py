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


def first(waiting: Iterable[T], standing: Callable[[T], Standing]) -> T:
    """The one whose turn it is. Raises ValueError where nobody waits."""
    all_standings = [(standing(each), each) for each in waiting]
    project = min(all_standings, key=lambda pair: _between_projects(pair[0]))[0].project
    own = (pair for pair in all_standings if pair[0].project == project)
    return min(own, key=lambda pair: _within_a_project(pair[0]))[1]


def _between_projects(standing: Standing) -> tuple[int, float, float, str]:
    return standing.inflight, standing.slack_seconds, -standing.age_seconds, standing.id


def _within_a_project(standing: Standing) -> tuple[int, float, float, str]:
    return -standing.priority, standing.slack_seconds, -standing.age_seconds, standing.id
