"""The contract of a journal: where answers become safe.

Appending is quick and buffered; results become durable in groups, at most `GROUP_SECONDS` after they were appended. The
first recorded result of a line wins; later ones are ignored. A journal may be opened again after any crash: it then
holds every result that was durable, and perhaps some that were not yet reported so, but never a part of one.
"""

from collections.abc import Iterator
from typing import Protocol

from msgspec import Struct

from batchyard.domain.result import Result

GROUP_SECONDS = 0.05
"""No result waits longer than this for its sync to begin."""


class Recorded(Struct):
    """What is durable: lines by outcome, and tokens."""

    succeeded: int = 0
    errored: int = 0
    cancelled: int = 0
    expired: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0

    @property
    def lines(self) -> int:
        return self.succeeded + self.errored + self.cancelled + self.expired


class Reading(Protocol):
    """Reads what is durable, on a thread of its own, while the journal is written and after it was closed."""

    def outcomes(self) -> bytearray:
        """See `Journal.outcomes`."""
        ...

    def result(self, line: int) -> Result:
        """The recorded result of a line, which must have one. Blocks. Raises OSError where the journal is gone."""
        ...

    def close(self) -> None: ...


class Journal(Protocol):
    """Append and replay the results of one plan."""

    recorded: Recorded
    """What is durable now."""

    def outcomes(self) -> bytearray:
        """One byte per line of the plan: its Outcome code, from what is durable. The journal's own; do not change."""
        ...

    def append(self, result: Result) -> None:
        """Take a result. Raises Unavailable where an earlier write failed: nothing can become safe any more."""
        ...

    async def room(self) -> None:
        """Wait while so much is unwritten that taking more would cost memory. Raises as `append` does."""
        ...

    async def flush(self) -> None:
        """Return once everything appended so far is durable. Raises Unavailable where it cannot become so."""
        ...

    def replay(self, lines: Iterator[int]) -> Iterator[Result]:
        """The recorded results of the given lines, in the order of the lines; every line must have one. Blocks."""
        ...

    def places(self) -> Iterator[int]:
        """The lines that have a recorded result, in the order in which these became durable. Blocks."""
        ...

    def reading(self) -> Reading:
        """A reader beside this journal. Whoever asked for it closes it."""
        ...

    async def close(self) -> None:
        """Flush and close."""
        ...
