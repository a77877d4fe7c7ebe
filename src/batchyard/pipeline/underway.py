"""Which batches walk now, and the results that they have so far, for people who look while they do.

What is durable is read beside the walk: with handles of its own, on another thread, no further than one portion at a
time. The walk does not notice. A walk that ends while somebody reads takes its folder away; then there is no portion,
and whoever asked looks at the batch again.
"""

from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import repeat
from typing import Final

import msgspec
from msgspec import Struct

from batchyard.dialect import LineDialect
from batchyard.disk import Disk
from batchyard.domain.batch import BatchId
from batchyard.domain.errors import NotFound, Unavailable
from batchyard.domain.partial import Portion, Watermark
from batchyard.domain.result import Outcome
from batchyard.journal import Journal, Reading
from batchyard.offload import Offload
from batchyard.pipeline.folder import PLAN
from batchyard.pipeline.lines import Reader
from batchyard.pipeline.plan import Entry, Plan
from batchyard.pipeline.tally import Tally

PORTION_BYTES: Final = 2 << 20
"""A portion ends with the line that reaches this."""

LOOKED_AT: Final = 50_000
"""How many lines are looked at for one portion, wanted or not: nobody keeps the thread for long."""


class Walking(Struct, frozen=True):
    """A batch that has a plan and a journal. `disk` is where its plan lies: a small one's is nowhere else."""

    disk: Disk
    folder: str
    input_path: str
    dialect: LineDialect
    journal: Journal


class Underway:
    """See the module."""

    def __init__(self, offload: Offload) -> None:
        self._offload = offload
        self._walking: dict[BatchId, Walking] = {}
        self.asking: dict[tuple[BatchId, str], Tally] = {}
        """What is dispatched now, by batch and model, and how it goes."""

    @contextmanager
    def shown(self, id: BatchId, walking: Walking) -> Generator[None]:
        """Let a batch be looked at until the block ends."""
        self._walking[id] = walking
        try:
            yield
        finally:
            del self._walking[id]

    @contextmanager
    def asked(self, id: BatchId, model: str, tally: Tally) -> Generator[None]:
        """Let a dispatch be looked at until the block ends."""
        self.asking[id, model] = tally
        try:
            yield
        finally:
            del self.asking[id, model]

    async def portion(self, id: BatchId, since: Watermark, limit: int) -> Portion | None:
        """What comes after a watermark, at most `limit` lines; None where the batch does not walk (any more).

        Raises Unavailable where the disk cannot serve.
        """
        walking = self._walking.get(id)
        if walking is None:
            return None
        try:
            return await self._offload(partial(_portion, walking, walking.journal.reading(), since, limit))
        except (FileNotFoundError, NotFound):
            return None
        except OSError as error:
            raise Unavailable(f"The results so far cannot be read: {error.strerror or error}.") from error


def _portion(walking: Walking, reading: Reading, since: Watermark, limit: int) -> Portion:
    with ExitStack() as stack:
        stack.callback(reading.close)
        plan = Plan.open(walking.disk, f"{walking.folder}/{PLAN}")
        stack.callback(plan.close)
        lines: Reader | None = None
        if plan.followers or walking.dialect.needs_lines:
            lines = Reader(walking.disk, walking.input_path)
            stack.callback(lines.close)
        return _Cutting(plan, lines, reading, walking.dialect, since, limit).portion()


class _Cutting:
    """One portion on its way: line after line of the plan, up to the first without a result."""

    def __init__(
        self, plan: Plan, lines: Reader | None, reading: Reading, dialect: LineDialect, since: Watermark, limit: int
    ) -> None:
        self._plan = plan
        self._lines = lines
        self._reading = reading
        self._outcomes = reading.outcomes()
        self._dialect = dialect
        self._since = since
        self._limit = limit
        self._written: list[bytes] = []
        self._output_bytes = self._error_bytes = 0

    def portion(self) -> Portion:
        reached, more = self._since.lines, False
        for place, entry in self._places(reached):
            source = self._source(place, entry)
            if source is None:
                break
            if self._full or place - self._since.lines >= LOOKED_AT:
                more = True
                break
            self._take(place, entry, source)
            reached = place + 1
        since, data = self._since, b"".join(self._written)
        output_bytes, error_bytes = since.output_bytes + self._output_bytes, since.error_bytes + self._error_bytes
        return Portion(data, len(self._written), Watermark(since.kind, reached, output_bytes, error_bytes), more)

    @property
    def _full(self) -> bool:
        return len(self._written) >= self._limit or self._output_bytes + self._error_bytes >= PORTION_BYTES

    def _places(self, start: int) -> Iterator[tuple[int, Entry | None]]:
        """Places, with their entries only where lines are needed to tell some answers."""
        if self._lines is not None:
            return self._plan.entries(start)
        return zip(range(start, self._plan.lines), repeat(None))

    def _source(self, place: int, entry: Entry | None) -> int | None:
        """Whose result the line has, its own or its leader's; None while there is none."""
        if self._outcomes[place]:
            return place
        if entry is not None and entry.leader >= 0 and self._outcomes[entry.leader]:
            return entry.leader
        return None

    def _take(self, place: int, entry: Entry | None, source: int) -> None:
        """Write a line as the result file will have it, where it is wanted."""
        good = self._outcomes[source] == Outcome.SUCCEEDED or not self._dialect.errors_apart
        kind = self._since.kind
        if not (kind.has_output if good else kind.has_errors):
            return
        result, line = self._reading.result(source), b""
        if entry is not None and self._lines is not None and (source != place or self._dialect.needs_lines):
            line = self._lines.line(entry)
        if source != place:
            result = msgspec.structs.replace(result, line=place, custom_id=self._dialect.custom_id(line))
        data = self._dialect.write(self._dialect.told(result, line), line)
        self._written.append(data)
        if good:
            self._output_bytes += len(data)
        else:
            self._error_bytes += len(data)
