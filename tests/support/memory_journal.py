"""A journal in memory: keeps what was appended, and can be full or broken."""

import asyncio
from collections.abc import Iterator

from batchyard.domain.errors import Unavailable
from batchyard.domain.result import Outcome, Result
from batchyard.journal import Recorded


class MemoryJournal:
    """`results` by line. A second result for a line is an error here: the dispatcher must never make one."""

    def __init__(self, *, breaks_after: int | None = None) -> None:
        self.results: dict[int, Result] = {}
        self.recorded = Recorded()
        self.has_room = asyncio.Event()
        self.has_room.set()
        self._breaks_after = breaks_after

    def outcomes(self) -> bytearray:
        last = max(self.results, default=-1)
        return bytearray(self.results[n].outcome if n in self.results else Outcome.PENDING for n in range(last + 1))

    def append(self, result: Result) -> None:
        if self._breaks_after is not None and len(self.results) >= self._breaks_after:
            raise Unavailable("The disk is full.", remedy="Make room.")
        assert result.line not in self.results, f"line {result.line} has a second result"
        self.results[result.line] = result

    async def room(self) -> None:
        await self.has_room.wait()

    async def flush(self) -> None:
        return None

    def replay(self, lines: Iterator[int]) -> Iterator[Result]:
        return (self.results[line] for line in lines)

    def places(self) -> Iterator[int]:
        return iter(self.results)

    def reading(self) -> "MemoryReading":
        return MemoryReading(self)

    async def close(self) -> None:
        return None


class MemoryReading:
    """The same results, for somebody else."""

    def __init__(self, journal: MemoryJournal) -> None:
        self._journal = journal

    def outcomes(self) -> bytearray:
        return self._journal.outcomes()

    def result(self, line: int) -> Result:
        return self._journal.results[line]

    def close(self) -> None:
        return None
