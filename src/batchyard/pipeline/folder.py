"""What a run keeps in its folder between planning and its end: the plan and the journal."""

import posixpath
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from msgspec import Struct

from batchyard.disk import Disk
from batchyard.journal import Journal
from batchyard.offload import Offload, Together, Wish
from batchyard.pipeline.lines import Reader
from batchyard.pipeline.plan import Plan

PLAN = "plan"
JOURNAL = "journal"

OpenJournal = Callable[[str, int], Awaitable[Journal]]
"""Opens the journal in a folder, for a number of lines."""


class Opened(Struct, frozen=True):
    """A planned run: its plan, its input's lines, and its results so far."""

    plan: Plan
    reader: Reader
    journal: Journal


def make_folder(disk: Disk, folder: str) -> None:
    """Make a run's folder, and its name safe. Blocks."""
    disk.make_folder(folder)
    disk.sync_folder(posixpath.dirname(folder) or ".")
    disk.sync_folder(folder)  # a run that ended in between may have left a name that is not safe yet


class Folders:
    """Makes the folders of runs in one place. Those that are asked for at the same time share a sync."""

    def __init__(self, disk: Disk, place: str, offload: Offload) -> None:
        self._disk = disk
        self._place = place
        self._together: Together[str] = Together(offload, self._make)

    async def make(self, name: str) -> None:
        """Make a folder; its name is safe when this returns, names in it that a run before left need not be."""
        await self._together(name)

    def _make(self, wishes: Sequence[Wish[str]]) -> None:
        for wish in wishes:
            self._disk.make_folder(f"{self._place}/{wish.what}")
        self._disk.sync_folder(self._place)


@asynccontextmanager
async def opened(
    disk: Disk, offload: Offload, open_journal: OpenJournal, folder: str, input_path: str, *, journal_folder: str = ""
) -> AsyncGenerator[Opened]:
    """The plan and the journal of a planned run, with its input. The journal has a folder of its own where none is
    named."""
    plan, reader = await offload(lambda: _read(disk, f"{folder}/{PLAN}", input_path))
    try:
        journal = await open_journal(journal_folder or f"{folder}/{JOURNAL}", plan.lines)
        try:
            yield Opened(plan, reader, journal)
        finally:
            await journal.close()
    finally:
        reader.close()
        plan.close()


def _read(disk: Disk, plan_path: str, input_path: str) -> tuple[Plan, Reader]:
    plan = Plan.open(disk, plan_path)
    try:
        return plan, Reader(disk, input_path)
    except BaseException:
        plan.close()
        raise


def clear(disk: Disk, folder: str) -> None:
    """Remove the plan and the journal of a run, and anything a crash left half-written. Blocks."""
    for name in disk.names(f"{folder}/{JOURNAL}"):
        disk.remove(f"{folder}/{JOURNAL}/{name}")
    for name in disk.names(folder):
        if name.startswith(PLAN):
            disk.remove(f"{folder}/{name}")


def remove(disk: Disk, folder: str) -> None:
    """Remove a run's folder with all that is in it. Blocks."""
    for name in disk.names(folder):
        if name == JOURNAL:
            clear(disk, folder)
            disk.remove_folder(f"{folder}/{JOURNAL}")
        else:
            disk.remove(f"{folder}/{name}")
    disk.remove_folder(folder)
