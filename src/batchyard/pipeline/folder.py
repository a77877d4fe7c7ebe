"""What a run keeps in its folder between planning and its end: the plan and the journal."""

import posixpath
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from msgspec import Struct

from batchyard.disk import Disk
from batchyard.journal import Journal
from batchyard.offload import Offload
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


@asynccontextmanager
async def opened(
    disk: Disk, offload: Offload, open_journal: OpenJournal, folder: str, input_path: str
) -> AsyncGenerator[Opened]:
    """The plan and the journal of a planned run, with its input."""
    plan = await offload(lambda: Plan.open(disk, f"{folder}/{PLAN}"))
    try:
        reader = await offload(lambda: Reader(disk, input_path))
        try:
            journal = await open_journal(f"{folder}/{JOURNAL}", plan.lines)
            try:
                yield Opened(plan, reader, journal)
            finally:
                await journal.close()
        finally:
            reader.close()
    finally:
        plan.close()


def clear(disk: Disk, folder: str) -> None:
    """Remove the plan and the journal of a run, and anything a crash left half-written. Blocks."""
    for name in disk.names(f"{folder}/{JOURNAL}"):
        disk.remove(f"{folder}/{JOURNAL}/{name}")
    for name in disk.names(folder):
        if name.startswith(PLAN):
            disk.remove(f"{folder}/{name}")


def remove(disk: Disk, folder: str) -> None:
    """Remove a run's folder with all that is in it. Blocks."""
    clear(disk, folder)
    disk.remove_folder(f"{folder}/{JOURNAL}")
    for name in disk.names(folder):
        disk.remove(f"{folder}/{name}")
    disk.remove_folder(folder)
