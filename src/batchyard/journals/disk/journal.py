"""The journal itself: takes results, has them written in groups, knows what is durable, and reads it again."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Final

from batchyard.disk import Disk
from batchyard.domain.errors import Unavailable
from batchyard.domain.result import Result
from batchyard.journal import GROUP_SECONDS, Recorded
from batchyard.journals.disk.files import SegmentFiles, count_outcomes
from batchyard.journals.disk.gathering import Gathering
from batchyard.journals.disk.reading import SlotReader
from batchyard.journals.disk.slots import Slots
from batchyard.offload import Offload

_ROOM_BYTES: Final = 2 << 20


def _ignore(_: float) -> None:
    """Nobody measures."""


async def open_journal(
    disk: Disk,
    offload: Offload,
    folder: str,
    lines: int,
    on_commit: Callable[[float], None] = _ignore,
    *,
    made: bool = False,
) -> "DiskJournal":
    """Open the journal of a plan of `lines` lines, or begin one. Its `close` must be awaited.

    `on_commit` hears how many seconds it took to make a group of results safe. `made` says that the folder is there and
    its name safe; files of other names may lie in it.

    Raises Conflict where it holds results of lines that the plan does not have, and Unavailable where the disk does not
    work.
    """
    slots, files = Slots(lines), SegmentFiles(disk, folder)
    try:
        recorded = await offload(partial(files.load, slots, made=made))
    except OSError as error:
        files.close()
        raise Unavailable(
            f"The journal {folder} cannot be opened: {_reason(error)}.",
            remedy="What it holds is as it was; mend the disk and run the same command again.",
        ) from error
    return DiskJournal(disk, files, offload, slots, recorded, on_commit)


class DiskJournal:
    """See the contract. One commit is under way at a time, while the next group gathers."""

    def __init__(
        self,
        disk: Disk,
        files: SegmentFiles,
        offload: Offload,
        slots: Slots,
        recorded: Recorded,
        on_commit: Callable[[float], None],
    ) -> None:
        self.recorded = recorded
        self._disk = disk
        self._files = files
        self._reader = SlotReader(disk, files.folder, slots)
        self._offload = offload
        self._on_commit = on_commit
        self._slots = slots
        self._loop = asyncio.get_running_loop()
        self._group = files.first()
        self._group_since = 0.0
        self._taken = recorded.lines
        self._unwritten_bytes = 0
        self._cause: BaseException | None = None
        self._closing = False
        self._begun = asyncio.Event()  # the group has a result, or there will be none
        self._hurry = asyncio.Event()  # the group shall be written now
        self._settled = asyncio.Event()  # some group has become durable or cannot; then another event takes its place
        self._committing = self._loop.create_task(self._commit_groups(), name="journal")  # close() waits for it

    def outcomes(self) -> bytearray:
        return self._slots.outcomes

    def append(self, result: Result) -> None:
        if self._cause is not None:
            raise self._unavailable()
        line, where = result.line, self._slots.where
        if line < 0:
            raise IndexError(line)
        if where[line]:
            return
        group = self._group
        start = group.end
        where[line] = group.add(result)
        self._taken += 1
        self._unwritten_bytes += group.end - start
        if start == group.start:
            self._group_since = self._loop.time()
            self._begun.set()
        if group.full:
            self._hurry.set()

    async def room(self) -> None:
        while self._cause is None and self._unwritten_bytes > _ROOM_BYTES:
            await self._settled.wait()
        if self._cause is not None:
            raise self._unavailable()

    async def flush(self) -> None:
        taken = self._taken
        while self._cause is None and self.recorded.lines < taken:
            self._hurry.set()
            await self._settled.wait()
        if self._cause is not None:
            raise self._unavailable()

    def replay(self, lines: Iterator[int]) -> Iterator[Result]:
        result = self._reader.result
        for line in lines:
            yield result(line)

    def places(self) -> Iterator[int]:
        return self._files.places(self._slots)

    def reading(self) -> SlotReader:
        return SlotReader(self._disk, self._files.folder, self._slots)

    async def close(self) -> None:
        if self._closing:
            return
        self._closing = True
        try:
            await self.flush()
        finally:
            self._begun.set()
            await asyncio.wait({self._committing})
            await self._offload(self._close_files)

    async def _commit_groups(self) -> None:
        try:
            while await self._gathered():
                await self._commit(self._take())
        except Exception as error:
            self._cause = error
        except asyncio.CancelledError as error:
            self._cause = error
            raise
        finally:
            self._settle()

    async def _gathered(self) -> bool:
        """Wait until the group shall be written; False where there will be none."""
        await self._begun.wait()
        if self._group.end == self._group.start:
            return False
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._group_since + GROUP_SECONDS):
                await self._hurry.wait()
        return True

    def _take(self) -> Gathering:
        group = self._group
        self._group = self._files.after(group)
        self._hurry.clear()
        if not self._closing:
            self._begun.clear()
        return group

    async def _commit(self, group: Gathering) -> None:
        began = self._loop.time()
        await self._offload(partial(self._files.write, group))
        self._on_commit(self._loop.time() - began)
        self._count(group)
        self._settle()

    def _count(self, group: Gathering) -> None:
        outcomes, recorded = self._slots.outcomes, self.recorded
        for place, outcome in zip(group.places, group.outcomes, strict=True):
            outcomes[place] = outcome
        count_outcomes(recorded, group.outcomes)
        recorded.input_tokens += group.input_tokens
        recorded.output_tokens += group.output_tokens
        recorded.cached_tokens += group.cached_tokens
        self._unwritten_bytes -= group.end - group.start

    def _settle(self) -> None:
        self._settled.set()
        self._settled = asyncio.Event()

    def _close_files(self) -> None:
        self._reader.close()
        self._files.close()

    def _unavailable(self) -> Unavailable:
        safe = f"{self.recorded.lines} of {len(self._slots.outcomes)} results are safe."
        error = Unavailable(
            f"The journal {self._files.folder} cannot be written: {_reason(self._cause)}.",
            remedy=f"{safe} Make room or mend the disk, and run the same command again: it goes on from there.",
        )
        error.__cause__ = self._cause
        return error


def _reason(cause: BaseException | None) -> str:
    if isinstance(cause, OSError):
        return cause.strerror or str(cause)
    return str(cause) or type(cause).__name__
