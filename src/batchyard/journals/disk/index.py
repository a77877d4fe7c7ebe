"""The index of a segment: records of results, in groups that a seal makes valid. See the package for the format."""

import struct
import zlib
from collections.abc import Iterator
from typing import Final, TypeAlias

from msgspec import Struct

from batchyard.disk import Handle
from batchyard.domain.result import Usage

RECORD_BYTES: Final = 40
MOST_PLACES: Final = 0xFFFF_FFFF
"""Places are below it: the number itself marks a seal."""

_SEAL: Final = b"\xff\xff\xff\xff"
_CHUNK_BYTES: Final = RECORD_BYTES * 16_384
_U16: Final = 0xFFFF
_U32: Final = 0xFFFF_FFFF

_result = struct.Struct("<IHBxQIIIIII")
_result_point = struct.Struct("<I2xBxQ4xIIII4x")
_result_span = struct.Struct("<8xQII16x")
_seal_head = struct.Struct("<4sIQ4x")
_seal_check = struct.Struct("<I16x")

Point: TypeAlias = tuple[int, int, int, int, int, int, int]
"""Of one result: place, outcome, offset, check, and tokens in, out and cached."""


class Group(Struct, frozen=True, gc=False):
    """A sealed group as it stands in the index: where it and its data end, and its bytes with the seal."""

    end: int
    data_end: int
    record_bytes: bytes

    @property
    def start(self) -> int:
        return self.end - len(self.record_bytes)

    @property
    def data_start(self) -> int:
        return _result.unpack_from(self.record_bytes)[3]

    def points(self) -> Iterator[Point]:
        return _result_point.iter_unpack(memoryview(self.record_bytes)[:-RECORD_BYTES])

    def spans(self) -> Iterator[tuple[int, int, int]]:
        """Offset, length and check of each result's line."""
        return _result_span.iter_unpack(memoryview(self.record_bytes)[:-RECORD_BYTES])


def result_record(place: int, status: int, outcome: int, offset: int, length: int, check: int, usage: Usage) -> bytes:
    """One record. Numbers that do not fit (an engine may send any) are cut to what fits; the data keeps them whole."""
    tokens = (usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.reasoning_tokens)
    try:
        return _result.pack(place, status, outcome, offset, length, check, *tokens)
    except struct.error:
        status = min(max(status, 0), _U16)
        return _result.pack(place, status, outcome, offset, length, check, *(min(max(n, 0), _U32) for n in tokens))


def seal_record(records: bytes, data_end: int) -> bytes:
    head = _seal_head.pack(_SEAL, len(records) // RECORD_BYTES, data_end)
    return head + _seal_check.pack(_check(records, head))


def sealed_groups(index: Handle) -> Iterator[Group]:
    """The groups whose seal is right, in order, read in chunks; what lies between them is passed over."""
    offset, rest = 0, b""
    while fresh := index.read_at(offset + len(rest), _CHUNK_BYTES):
        chunk = rest + fresh
        used = 0
        for seal in _seals(chunk):
            end = seal + RECORD_BYTES
            data_end = _sealed_data_end(chunk, used, seal)
            if data_end:
                yield Group(offset + end, data_end, chunk[used:end])
            used = end
        offset += used
        rest = chunk[used:]


def _seals(chunk: bytes) -> Iterator[int]:
    """Where whole records stand that begin as a seal does."""
    last = len(chunk) - RECORD_BYTES
    at = chunk.find(_SEAL)
    while 0 <= at <= last:
        if at % RECORD_BYTES:
            at = chunk.find(_SEAL, at + 1)
        else:
            yield at
            at = chunk.find(_SEAL, at + RECORD_BYTES)


def _sealed_data_end(chunk: bytes, start: int, seal: int) -> int:
    """Where the data of a group ends, or 0 where its seal is not right."""
    _, count, data_end = _seal_head.unpack_from(chunk, seal)
    (check,) = _seal_check.unpack_from(chunk, seal + _seal_head.size)
    whole = 0 < count == (seal - start) // RECORD_BYTES
    head = chunk[seal : seal + _seal_head.size]
    return data_end if whole and check == _check(chunk[start:seal], head) else 0


def _check(records: bytes, seal_head: bytes) -> int:
    return zlib.crc32(seal_head, zlib.crc32(records))
