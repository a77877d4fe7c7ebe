"""Station *gather*: the input of a batch that retries another, written from what that one left.

The lines that did not succeed stand in the other's error file, or among its results, in the order of its input: so one
pass over both finds them, with one line of each in memory. They are copied as they are. The file that they make appears
in the transaction that makes it the batch's input; until then the batch reads from the other's input, which is kept for
it. A crash before leaves a blob that nobody knows, which the sweep removes at the next start, and the gathering to be
done again.
"""

import asyncio
import sys
from collections.abc import Callable, Iterator
from itertools import zip_longest
from typing import Protocol

from batchyard.clock import Clock
from batchyard.dialect import LineDialect
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
    dialect: LineDialect,
    halted: Callable[[], bool],
) -> bool:
    """Give a batch that retries another an input of its own, durable when this returns; False where it has one.

    Raises Refused where what it needs is gone, Stopped once `halted` says so.
    """
    retried = await parts.store.batches.retried(batch.id) if batch.retry_of is not None else None
    if retried is None:
        return False
    source, results = (_path(batch, retried, parts, blob) for blob in (retried.input_blob, retried.result_blob))
    choose = by_id(dialect.custom_id) if dialect.errors_apart else by_place(dialect.is_error)
    output = f"{folder}/{INPUT}"

    def on_chunk(_: bytes) -> None:
        if halted():
            raise Stopped

    def write() -> None:
        folders.make_folder(parts.disk, folder)
        fitting = copy_lines(parts.disk, source, results, output, choose, parts.max_line_bytes, on_chunk)
        if not fitting:
            raise refuse.not_gathered(batch, "its results do not fit its input")

    async with parts.gathering:
        await offload(write)
        file = await parts.publisher.input_file(batch, int(parts.clock.now()), output)
    return await parts.store.batches.gathered(batch.id, file)


def _path(batch: Batch, retried: Retried, parts: Parts, blob: str | None) -> str:
    path = parts.input_of(blob) if blob is not None else None
    if path is None or not parts.disk.exists(path):
        kind = "input file" if blob == retried.input_blob else "result file"
        raise refuse.not_gathered(batch, f"its {kind} is gone")
    return path


class Unfitting(Exception):
    """The results are not those of the input."""


Choose = Callable[[Iterator[bytes], Iterator[bytes]], Iterator[bytes]]
"""Of the lines of an input, given the lines of its results: those to ask again. Raises Unfitting."""


def by_id(custom_id: Callable[[bytes], str | None]) -> Choose:
    """Those that an error file names, where ids tell lines apart."""

    def choose(source: Iterator[bytes], errors: Iterator[bytes]) -> Iterator[bytes]:
        wanted = (custom_id(line) for line in errors)
        next_id = next(wanted, None)
        for line in source:
            if next_id is None:
                return
            if custom_id(line) == next_id:
                next_id = next(wanted, None)
                yield line
        if next_id is not None:
            raise Unfitting

    return choose


def by_place(is_error: Callable[[bytes], bool]) -> Choose:
    """Those whose result is an error, where the results of all lines are in one file."""

    def choose(source: Iterator[bytes], results: Iterator[bytes]) -> Iterator[bytes]:
        for line, result in zip_longest(source, results):
            if line is None or result is None:
                raise Unfitting
            if is_error(result):
                yield line

    return choose


def copy_lines(
    disk: Disk,
    source: str,
    results: str,
    output: str,
    choose: Choose,
    max_line_bytes: int,
    on_chunk: Callable[[bytes], None],
) -> bool:
    """Copy the chosen lines of an input, in order; False where the results are not its own. Blocks."""
    target = disk.open(output, create=True)
    try:
        target.truncate(0)  # a crash may have left the beginning of one
        waiting = bytearray()
        chosen = choose(_lines(disk, source, max_line_bytes, on_chunk), _lines(disk, results, sys.maxsize, on_chunk))
        for line in chosen:
            waiting += line + b"\n"
            if len(waiting) >= _BUFFER_BYTES:
                target.append(waiting)
                waiting = bytearray()
        target.append(waiting)
        target.sync()
    except Unfitting:
        return False
    finally:
        target.close()
    return True


def _lines(disk: Disk, path: str, most: int, on_chunk: Callable[[bytes], None]) -> Iterator[bytes]:
    """The lines of a file that are not blank; nor those that are too long, which never ran."""
    handle = disk.open(path)
    try:
        for block in blocks(handle, most, on_chunk):
            if not isinstance(block, LongLine):
                yield from filter(bytes.strip, block.lines)
    finally:
        handle.close()
