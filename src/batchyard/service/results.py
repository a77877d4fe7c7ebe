"""Results of a batch before it has ended, and after: portions that a caller appends one to another.

While a batch walks, portions come from its journal; once it has ended, from its result files. A watermark holds for
both, because the lines have the same order and the same bytes.
"""

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Final, TypeAlias

from msgspec import Struct

from batchyard.blob import Blobs
from batchyard.clock import Clock
from batchyard.domain.access import Action, Caller, ProjectId
from batchyard.domain.batch import Batch, BatchId
from batchyard.domain.errors import NotFound
from batchyard.domain.file import File, FileId
from batchyard.domain.partial import Kind, Portion, Watermark, bad_watermark
from batchyard.service import checks
from batchyard.service.access import require
from batchyard.service.batches import found
from batchyard.store import Store

LIMIT: Final = 10_000
DEFAULT_LIMIT: Final = 1000
PORTION_BYTES: Final = 2 << 20

Underway: TypeAlias = Callable[[BatchId, Watermark, int], Awaitable[Portion | None]]
"""A portion of a batch that walks: what comes after a watermark, at most so many lines. None where it does not walk."""


class Partial(Struct, frozen=True):
    """A portion, and the batch that it is of. `complete` says that nothing will follow it."""

    batch: Batch
    portion: Portion
    complete: bool


class Results:
    """What a caller may see of a batch's results."""

    def __init__(self, store: Store, blobs: Blobs, clock: Clock, underway: Underway) -> None:
        self._store = store
        self._blobs = blobs
        self._clock = clock
        self._underway = underway

    async def portion(
        self, caller: Caller, id: str, *, after: str | None = None, limit: int | None = None, kind: str | None = None
    ) -> Partial:
        """The results after a watermark.

        Raises NotFound where there is no such batch, or its result files are gone; Invalid for a watermark that is not
        of this batch.
        """
        require(caller, Action.VIEW_BATCHES)
        wanted = Kind(checks.one_of(kind or Kind.ALL, Kind, "kind"))
        since = Watermark.read(after, wanted)
        most = checks.in_range(DEFAULT_LIMIT if limit is None else limit, 1, LIMIT, "limit")
        while not (batch := await found(self._store, caller.project, id)).state.terminal:
            portion = await self._underway(batch.id, since, most)
            if portion is not None:
                return Partial(batch, portion, complete=False)
            if not (await found(self._store, caller.project, id)).state.terminal:
                return Partial(batch, Portion(b"", 0, since, more=False), complete=False)  # it waits for its turn
        return await self._from_files(batch, since, most)

    async def _from_files(self, batch: Batch, since: Watermark, limit: int) -> Partial:
        """The rest of the output, then the rest of the errors."""
        output, output_end = await self._rest(batch, batch.output_file_id, since.output_bytes, since.kind.has_output)
        errors, errors_end = await self._rest(batch, batch.error_file_id, since.error_bytes, since.kind.has_errors)
        good = await self._lines(output, since.output_bytes, output_end, limit)
        left = limit - good.count(b"\n")
        whole = since.output_bytes + len(good) == output_end
        bad = await self._lines(errors, since.error_bytes, errors_end, left) if whole and left else b""
        data, lines = good + bad, good.count(b"\n") + bad.count(b"\n")
        reached = Watermark(
            since.kind, since.lines + lines, since.output_bytes + len(good), since.error_bytes + len(bad)
        )
        complete = reached.output_bytes == output_end and reached.error_bytes == errors_end
        return Partial(batch, Portion(data, lines, reached, more=not complete), complete)

    async def _rest(self, batch: Batch, id: FileId | None, start: int, wanted: bool) -> tuple[File | None, int]:
        """A result file and where it ends; none, ending where the caller is, where there is nothing to read."""
        file = await self._file(batch.project, id) if wanted and id is not None else None
        end = file.bytes if file else 0
        if start > end:
            raise bad_watermark()
        return file, end

    async def _file(self, project: ProjectId, id: FileId) -> File:
        file = await self._store.files.get(project, id, int(self._clock.now()))
        if file is None:
            raise NotFound(f"The result file {id} was deleted or has expired.")
        return file

    async def _lines(self, file: File | None, start: int, end: int, limit: int) -> bytes:
        """Whole lines of a file, from `start` on: at most `limit`, and no more than a portion holds but one."""
        if file is None or start == end:
            return b""
        data, newlines, from_ = bytearray(), 0, max(start - 1, 0)  # with the end of the line before
        async with aclosing(self._blobs.read_range(file.blob, from_, end)) as chunks:
            async for chunk in chunks:
                if start and not data and not chunk.startswith(b"\n"):
                    raise bad_watermark()
                data += chunk
                newlines += chunk.count(b"\n")
                if newlines > limit or (len(data) > PORTION_BYTES and newlines > start - from_):
                    break
        return bytes(_cut(data[start - from_ :], limit))


def _cut(data: bytearray, limit: int) -> bytearray:
    """The first lines of some bytes: `limit` of them, or all that are whole."""
    end = 0
    for _ in range(limit):
        at = data.find(b"\n", end)
        if at < 0 or (end and at >= PORTION_BYTES):
            break
        end = at + 1
    return data[:end]
