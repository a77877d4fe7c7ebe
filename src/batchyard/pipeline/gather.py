"""Station *gather*: the input of a batch that retries another, written from what that one left.

The lines that did not succeed stand in the other's error file, in the order of its input: so one pass over both finds
them, with one line of each in memory. They are copied as they are. The file that they make appears in the transaction
that makes it the batch's input; until then the batch reads from the other's input, which is kept for it. A crash before
leaves a blob that nobody knows, which the sweep removes at the next start, and the gathering to be done again.
"""

import asyncio
import sys
from collections.abc import Callable, Iterator
from typing import Protocol

from batchyard.clock import Clock
from batchyard.disk import Disk
from batchyard.domain.batch import Batch
from batchyard.offload import Offload
from batchyard.pipeline import folder as folders
from batchyard.pipeline import refuse
from batchyard.pipeline.lines import LongLine, blocks
from batchyard.pipeline.publish import Publisher
from batchyard.pipeline.stop import Stopped
from batchyard.store import Retried, Store

INPUT = "input.jsonl"

_BUFFER_BYTES = 1 << 20


class Parts(Protocol):
    """What is needed of what batches are walked with."""

    @property
    def store(self) -> Store: ...
    @property
    def disk(self) -> Disk: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def publisher(self) -> Publisher: ...
    @property
    def input_of(self) -> Callable[[str], str | None]: ...
    @property
    def gathering(self) -> asyncio.Semaphore: ...
    @property
    def max_line_bytes(self) -> int: ...


async def gather(
    batch: Batch,
    parts: Parts,
    offload: Offload,
    folder: str,
    custom_id: Callable[[bytes], str | None],
    halted: Callable[[], bool],
) -> bool:
    """Give a batch that retries another an input of its own, durable when this returns; False where it has one.

    Raises Refused where what it needs is gone, Stopped once `halted` says so.
    """
    retried = await parts.store.batches.retried(batch.id) if batch.retry_of is not None else None
    if retried is None:
        return False
    source, errors = (_path(batch, retried, parts, blob) for blob in (retried.input_blob, retried.error_blob))
    output = f"{folder}/{INPUT}"

    def on_chunk(_: bytes) -> None:
        if halted():
            raise Stopped

    def write() -> None:
        folders.make_folder(parts.disk, folder)
        fitting = copy_lines(parts.disk, source, errors, output, custom_id, parts.max_line_bytes, on_chunk)
        if not fitting:
            raise refuse.not_gathered(batch, "its error file does not fit its input")

    async with parts.gathering:
        await offload(write)
        file = await parts.publisher.input_file(batch, int(parts.clock.now()), output)
    return await parts.store.batches.gathered(batch.id, file)


def _path(batch: Batch, retried: Retried, parts: Parts, blob: str | None) -> str:
    path = parts.input_of(blob) if blob is not None else None
    if path is None or not parts.disk.exists(path):
        kind = "input file" if blob == retried.input_blob else "error file"
        raise refuse.not_gathered(batch, f"its {kind} is gone")
    return path


def copy_lines(
    disk: Disk,
    source: str,
    errors: str,
    output: str,
    custom_id: Callable[[bytes], str | None],
    max_line_bytes: int,
    on_chunk: Callable[[bytes], None],
) -> bool:
    """Copy those lines of an input that an error file names, in order; False where it names others too. Blocks."""
    wanted = (custom_id(line) for line in _lines(disk, errors, sys.maxsize, on_chunk))
    target = disk.open(output, create=True)
    try:
        target.truncate(0)  # a crash may have left the beginning of one
        waiting = bytearray()
        next_id = next(wanted, None)
        for line in _lines(disk, source, max_line_bytes, on_chunk):
            if next_id is None:
                break
            if custom_id(line) != next_id:
                continue
            next_id = next(wanted, None)
            waiting += line + b"\n"
            if len(waiting) >= _BUFFER_BYTES:
                target.append(waiting)
                waiting = bytearray()
        target.append(waiting)
        target.sync()
    finally:
        target.close()
    return next_id is None


def _lines(disk: Disk, path: str, most: int, on_chunk: Callable[[bytes], None]) -> Iterator[bytes]:
    """The lines of a file that are not blank; nor those that are too long, which never ran."""
    handle = disk.open(path)
    try:
        for block in blocks(handle, most, on_chunk):
            if not isinstance(block, LongLine):
                yield from filter(bytes.strip, block.lines)
    finally:
        handle.close()
