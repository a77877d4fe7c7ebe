"""Where the result of each line lies, in nine bytes per line."""

import zlib
from array import array
from typing import Final

CHECK_BITS: Final = 20
_OFFSET_BITS: Final = 32
CHECK_MASK: Final = (1 << CHECK_BITS) - 1
_OFFSET_MASK: Final = (1 << _OFFSET_BITS) - 1

MOST_SEGMENTS: Final = (1 << 12) - 1


class Slots:
    """One slot and one outcome per line. A slot is filled once a result is taken, its outcome once that is durable."""

    def __init__(self, lines: int) -> None:
        self.where = array("Q", (0,)) * lines
        self.outcomes = bytearray(lines)


def slot_of(segment: int, offset: int, check: int) -> int:
    """64 bits, never 0: 12 of the segment (from 1), 32 of the offset, 20 of the line's CRC-32."""
    return segment << (_OFFSET_BITS + CHECK_BITS) | offset << CHECK_BITS | check & CHECK_MASK


def place_of(slot: int) -> tuple[int, int]:
    """The segment and the offset of a slot."""
    return slot >> (_OFFSET_BITS + CHECK_BITS), slot >> CHECK_BITS & _OFFSET_MASK


def fits(slot: int, line: bytes) -> bool:
    """Whether a line is the one that was written there."""
    return (zlib.crc32(line) ^ slot) & CHECK_MASK == 0
