"""Requests that are asked together: one call for a group of them, and a reply for each.

What an engine takes is learned over all batches that ask it, so one `Groups` belongs to one engine.
"""

from collections.abc import Sequence

from batchyard.domain.request import Request
from batchyard.domain.result import Answer, Reply, Usage
from batchyard.endpoint import Grouping, Loose
from batchyard.policy.group import first_size, shares

WEIGHT_OF_A_TEXT = 4
"""Bytes that every text counts on top of its own: models put marks around it."""


class Trial:
    """Whether a group that failed was too large: it was, where each of its lines is answered in a smaller one."""

    def __init__(self, lines: int) -> None:
        self.lines = lines
        self.left = lines
        self.spoiled = False


class Groups:
    """How requests go to one engine together. At most `ceiling` of them do; 1: none."""

    def __init__(self, grouping: Grouping, ceiling: int) -> None:
        self._grouping = grouping
        self._size = first_size(ceiling)

    @property
    def most(self) -> int:
        """How many requests a group may have now."""
        return self._size.allowed

    def read(self, request: Request) -> Loose | None:
        """What of a request goes into a group; None where it goes alone."""
        if request.endpoint != self._grouping.endpoint or self._size.ceiling == 1:
            return None
        return self._grouping.read(request.body)

    def joined(self, first: Request, group: Sequence[Loose]) -> Request:
        """One request for all of a group."""
        body = self._grouping.join(group[0].options, [each.text for each in group])
        return Request(first.line, first.custom_id, first.endpoint, first.model, body, len(group))

    def replies(self, answer: Answer, group: Sequence[Loose], seconds: float) -> list[Reply] | None:
        """The answer to each of a group, which took so long; None where it does not fit what was asked."""
        weights = [len(each.text) + WEIGHT_OF_A_TEXT for each in group]
        bodies = self._grouping.split(answer.body, weights)
        if bodies is None:
            return None
        self.answered(len(group), len(answer.body), seconds)
        return [
            Answer(answer.status, body, answer.request_id, usage)
            for body, usage in zip(bodies, _usages(answer.usage, weights), strict=True)
        ]

    def answered(self, lines: int, answer_bytes: int, seconds: float) -> None:
        """A group was answered, be it of one line."""
        self._size = self._size.answered(lines, answer_bytes, seconds)

    def ended(self, trial: Trial, *, succeeded: bool) -> None:
        """A line has its result whose group failed before."""
        trial.left -= 1
        trial.spoiled = trial.spoiled or not succeeded
        if not trial.left and not trial.spoiled:
            self._size = self._size.too_large(trial.lines)


def _usages(used: Usage, weights: Sequence[int]) -> list[Usage]:
    columns = (used.input_tokens, used.output_tokens, used.cached_tokens, used.reasoning_tokens)
    return [Usage(*row) for row in zip(*(shares(column, weights) for column in columns), strict=True)]
