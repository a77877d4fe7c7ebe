"""How many embeddings go to an engine in one call, and what becomes of them where the call fails.

The size is what engines commonly take, less where one has refused so many, and now and then it is tried higher again:
an engine that was merely ill must not count as a small one for ever. Whose fault a failed call is cannot be seen from
outside, so its lines are asked again in halves: a bad line ends alone, and the others are answered without it.
"""

from collections.abc import Sequence
from enum import Enum
from itertools import accumulate, pairwise

from msgspec import Struct
from msgspec.structs import replace

from batchyard.domain.result import Answer, Fault, Reply
from batchyard.policy.retry import is_overload

USUAL_SIZE = 64
"""Texts of a call; common servers take at least 32, and gain little from more than this."""
FIRST_SIZE = 8
"""Nobody knows yet how long the engine takes."""
QUICK_SECONDS = 2.0
"""Groups grow while calls are answered within this time,"""
SLOW_SECONDS = 10.0
"""and shrink where one takes longer: what is under way is lost with a connection, and limits on time are for one."""
GROUP_BYTES = 64 << 10
"""A group is closed when its texts have so many bytes, so it has less than twice as many: about 30,000 tokens."""
ANSWER_BYTES = 1 << 20
"""What an answer may have, as far as can be foreseen: it is taken apart in one go, while nobody else is served."""
FIRST_TRIAL = 256
"""Calls of the largest size that must be answered before a larger one is tried; twice as many after each in vain."""
LAST_TRIAL = 1 << 16
OVERLOADS_BEFORE_SMALLER = 3
"""A line that was put off so often goes in smaller groups: a limit on tokens may be less than one group asks for."""

_OF_NO_LINE = frozenset({401, 403, 404})
"""What is wrong with the key, the address or the model is wrong with every line of a group."""


class Size(Struct, frozen=True):
    """How many lines a group may have: at most `ceiling`, `most` as far as is known of the engine, and no more than it
    answers in good time: `quick`, which begins low.

    `full` counts answered groups of the largest size since that changed, `trial` is how many it takes to try more.
    `text_bytes` is what the last answer had for each text.
    """

    ceiling: int
    most: int
    quick: int
    full: int = 0
    trial: int = FIRST_TRIAL
    text_bytes: int = 0

    @property
    def allowed(self) -> int:
        most = min(self.most, self.quick)
        return min(most, max(1, ANSWER_BYTES // self.text_bytes)) if self.text_bytes else most

    def answered(self, lines: int, answer_bytes: int, seconds: float) -> "Size":
        """A group was answered."""
        size = replace(self, text_bytes=answer_bytes // lines, quick=self._quick(lines, seconds))
        if self.most == self.ceiling or lines < self.most:
            return size
        if self.full + 1 < self.trial:
            return replace(size, full=self.full + 1)
        return replace(size, most=min(self.ceiling, 2 * self.most), full=0)

    def _quick(self, lines: int, seconds: float) -> int:
        if seconds > SLOW_SECONDS:
            return max(1, min(self.quick, lines // 2))
        grows = seconds <= QUICK_SECONDS and lines >= self.quick
        return min(self.ceiling, 2 * self.quick) if grows else self.quick

    def too_large(self, lines: int) -> "Size":
        """A group of so many lines was refused that was answered in smaller ones."""
        most = max(1, lines // 2)
        if most >= self.most:
            return self
        return replace(self, most=most, full=0, trial=min(LAST_TRIAL, 2 * self.trial))


def first_size(ceiling: int) -> Size:
    return Size(ceiling, ceiling, min(ceiling, FIRST_SIZE))


def largest(ceiling: int, room: int | None) -> int:
    """How large groups may be where an engine has room for so many lines: two of them are to have room side by side."""
    return ceiling if room is None else max(1, min(ceiling, room // 2))


class Fate(Enum):
    """What a failed call means for its lines."""

    SHARED = 0
    """Each has that reply."""
    SMALLER = 1
    """They are asked again in groups of half the size, and it costs none of them a retry."""
    APART = 2
    """Each has that reply, and goes alone from now on: retries are few, and an engine that dies, dies of one."""


def fate(reply: Reply) -> Fate:
    """What a call that brought no usable answer means for its lines."""
    if isinstance(reply, Answer):
        return Fate.SHARED if is_overload(reply) or reply.status in _OF_NO_LINE else Fate.SMALLER
    match reply.fault:
        case Fault.LOST | Fault.CRASHED:
            return Fate.APART
        case Fault.FINAL:
            return Fate.SMALLER
        case _:
            return Fate.SHARED


def shares(total: int, weights: Sequence[int]) -> list[int]:
    """A whole number in whole parts that sum to it: one for each, where there are enough, the rest by weight."""
    each = 1 if total >= len(weights) else 0
    rest, sums = total - each * len(weights), list(accumulate(weights, initial=0))
    cuts = [rest * sum // sums[-1] for sum in sums]
    return [each + after - before for before, after in pairwise(cuts)]
