"""Whose turn is it? First the project that has least, then the batch with the least time to spare, then the oldest.

Fairness between projects goes first, so that one with thousands of batches costs another nothing but its share; within
a project the deadline decides.
"""

from collections.abc import Callable, Iterable
from typing import TypeVar

from msgspec import Struct

T = TypeVar("T")


class Standing(Struct, frozen=True, kw_only=True):
    """Where a batch stands among those that wait.

    `inflight` is what its whole project has under way (requests in an engine, or batches on their walk).
    `slack_seconds` is the time left to its deadline, infinite for none and below zero past it. `age_seconds` is how
    long it has been there. `id` settles what is equal otherwise.
    """

    inflight: int
    slack_seconds: float
    age_seconds: float
    id: str


def rank(standing: Standing) -> tuple[int, float, float, str]:
    """A key for sorting: the least comes first. No two batches have the same."""
    return standing.inflight, standing.slack_seconds, -standing.age_seconds, standing.id


def first(waiting: Iterable[T], standing: Callable[[T], Standing]) -> T:
    """The one whose turn it is. Raises ValueError where nobody waits."""
    return min(waiting, key=lambda each: rank(standing(each)))
