"""Frames between a process and its child: length, id, kind, bytes.

A frame is `u32 length | u32 id | u8 kind | length bytes`, little-endian; the length counts the bytes alone.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

HEAD = struct.Struct("<IIB")

MAX_FRAME_BYTES = 1 << 30
"""More than any body that passes validation; a longer frame means that the stream is out of step."""


class Frame(NamedTuple):
    """One message. The meaning of `number` and `kind` is the users'."""

    number: int
    kind: int
    data: bytes = b""


class BrokenStream(Exception):
    """The bytes are not frames."""


def pack(frame: Frame) -> bytes:
    return HEAD.pack(len(frame.data), frame.number, frame.kind) + frame.data


class FrameReader:
    """Cuts a stream into frames; keeps what is not yet whole."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are complete with these bytes. Raises BrokenStream."""
        self._rest += data
        start = 0
        while len(self._rest) - start >= HEAD.size:
            length, number, kind = HEAD.unpack_from(self._rest, start)
            if length > MAX_FRAME_BYTES:
                raise BrokenStream(f"a frame of {length} bytes")
            end = start + HEAD.size + length
            if len(self._rest) < end:
                break
            yield Frame(number, kind, bytes(self._rest[start + HEAD.size : end]))
            start = end
        del self._rest[:start]
