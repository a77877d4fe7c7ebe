"""Reading lines from anywhere in the data of a journal, mostly from memory."""

from typing import Final

from batchyard.disk import Disk, Handle
from batchyard.journals.disk.segment import data_path

_BLOCK_BITS: Final = 15
_BLOCK_BYTES: Final = 1 << _BLOCK_BITS
_MOST_BLOCKS: Final = 128


class LineReader:
    """Keeps the last 4 MiB of blocks: results lie about in the order of the lines, with a few far out of it."""

    def __init__(self, disk: Disk, folder: str) -> None:
        self._disk = disk
        self._folder = folder
        self._handles: dict[int, Handle] = {}
        self._blocks: dict[tuple[int, int], bytes] = {}

    def line(self, segment: int, offset: int) -> bytes:
        """The line that begins there, with its newline; without one where the file ends first."""
        number, start = offset >> _BLOCK_BITS, offset & (_BLOCK_BYTES - 1)
        block = self._blocks.get((segment, number)) or self._read(segment, number)
        end = block.find(b"\n", start) + 1
        return block[start:end] if end else self._long_line(segment, number, block[start:])

    def close(self) -> None:
        self._blocks.clear()
        while self._handles:
            self._handles.popitem()[1].close()

    def _long_line(self, segment: int, number: int, first: bytes) -> bytes:
        parts = [first]
        while True:
            number += 1
            block = self._blocks.get((segment, number)) or self._read(segment, number)
            end = block.find(b"\n") + 1
            parts.append(block[:end] if end else block)
            if end or not block:
                return b"".join(parts)

    def _read(self, segment: int, number: int) -> bytes:
        block = self._handle(segment).read_at(number << _BLOCK_BITS, _BLOCK_BYTES)
        if len(block) == _BLOCK_BYTES:  # a shorter one stands at the end and may still grow
            if len(self._blocks) >= _MOST_BLOCKS:
                del self._blocks[next(iter(self._blocks))]
            self._blocks[segment, number] = block
        return block

    def _handle(self, segment: int) -> Handle:
        handle = self._handles.get(segment)
        if handle is None:
            handle = self._handles[segment] = self._disk.open(data_path(self._folder, segment))
        return handle
