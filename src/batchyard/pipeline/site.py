"""Where one walk works: its folder, the disk of its plan, and its input."""

from msgspec import Struct

from batchyard.disk import Disk
from batchyard.domain.batch import Batch
from batchyard.pipeline.aside import Aside
from batchyard.pipeline.batch_parts import BatchParts
from batchyard.pipeline.folder import JOURNAL, PLAN


class Site(Struct, frozen=True):
    """`disk` has the plan, a small input's nowhere else; `planned` says that there was one when this was looked at."""

    disk: Disk
    folder: str
    journal_folder: str
    small: bool
    planned: bool


def look(batch: Batch, parts: BatchParts) -> Site:
    """See how big the input is, and what there is of a plan and a journal. Blocks."""
    disk, folder = parts.disk, f"{parts.folder}/{batch.id}"
    small = _is_small(batch, parts)
    if small:
        disk = Aside(disk, f"{folder}/{PLAN}")
    begun = bool(disk.names(f"{folder}/{JOURNAL}"))  # as earlier releases began it
    return Site(disk, folder, f"{folder}/{JOURNAL}" if begun else folder, small, disk.exists(f"{folder}/{PLAN}"))


def input_of(batch: Batch, parts: BatchParts) -> str:
    """Where the input of a batch lies that has a plan."""
    path = parts.input_of(batch.input_blob or "")
    assert path is not None
    return path


def _is_small(batch: Batch, parts: BatchParts) -> bool:
    path = parts.input_of(batch.input_blob) if batch.input_blob is not None else None
    if path is None or not parts.disk.exists(path):
        return False
    handle = parts.disk.open(path)
    try:
        return handle.size() <= parts.small_bytes
    finally:
        handle.close()
