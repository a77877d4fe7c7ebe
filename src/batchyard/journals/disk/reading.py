"""Reading lines from anywhere in the data of a journal, mostly from memory."""

from typing import Final

from batchyard.disk import Disk, Handle
from batchyard.domain.errors import NotFound, Unavailable
from batchyard.domain.result import Result
from batchyard.journals.disk.segment import data_path
from batchyard.journals.disk.slots import Slots, fits, place_of
from batchyard.journals.disk.text import decode

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


class SlotReader:
    """Reads results by their slots, which may be filling up: an outcome is set only once its line is safe."""

    def __init__(self, disk: Disk, folder: str, slots: Slots) -> None:
        self._folder = folder
        self._slots = slots
        self._lines = LineReader(disk, folder)

    def outcomes(self) -> bytearray:
        return self._slots.outcomes

    def result(self, line: int) -> Result:
        if not self._slots.outcomes[line]:
            raise NotFound(f"Line {line} has no result.")
        slot = self._slots.where[line]
        data = self._lines.line(*place_of(slot))
        if not fits(slot, data):
            raise self._damaged(line, slot)
        return decode(data)

    def close(self) -> None:
        self._lines.close()

    def _damaged(self, line: int, slot: int) -> Unavailable:
        segment, offset = place_of(slot)
        return Unavailable(
            f"The result of line {line} is damaged: {data_path(self._folder, segment)}, byte {offset}.",
            remedy="The disk lost what it had made safe; mend it and start over.",
        )
