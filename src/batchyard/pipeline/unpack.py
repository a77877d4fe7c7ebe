"""Part of the station *fetch*: gzip and zstd, told by their first bytes, as streams of bounded pieces.

A few kilobytes of a hostile archive can stand for gigabytes: nothing here holds more than a few megabytes of output.
"""

import zlib
from collections.abc import Iterator
from typing import Any

import zstandard

from batchyard.domain.errors import Invalid

GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
MAGIC_BYTES = 4

PIECE_BYTES = 1 << 20
ZSTD_SLICE_BYTES = 1 << 10
"""A zstd block of four bytes can stand for 128 KiB, and the decoder gives all at once: at most 32 MiB per slice."""
ZSTD_WINDOW_BYTES = 1 << 27
"""What `zstd --long=27` makes and plain `zstd -d` reads."""


def packed_as(start: bytes) -> str | None:
    """`gzip`, `zstd`, or None of the first `MAGIC_BYTES` bytes."""
    if start.startswith(GZIP_MAGIC):
        return "gzip"
    return "zstd" if start.startswith(ZSTD_MAGIC) else None


def unpack(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The content of a stream, decompressed where it is packed. Raises Invalid where an archive is torn or broken."""
    start = b""
    for chunk in chunks:
        start += chunk
        if len(start) >= MAGIC_BYTES:
            break
    match packed_as(start):
        case "gzip":
            yield from _gunzip(_with_start(start, chunks))
        case "zstd":
            yield from _unzstd(_with_start(start, chunks))
        case _:
            yield from _with_start(start, chunks)


def _with_start(start: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    if start:
        yield start
    yield from chunks


def _gunzip(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Members one after another, as `cat a.gz b.gz` makes them; zero bytes after the last are padding (RFC 1952)."""
    member, begun, ended = zlib.decompressobj(wbits=31), False, False
    for chunk in chunks:
        data = chunk
        while data:
            if not begun:
                data = data.lstrip(b"\0") if ended else data
                begun = bool(data)
            piece, data, done = _inflate(member, data)
            if piece:
                yield piece
            if done:
                member, begun, ended = zlib.decompressobj(wbits=31), False, True
    if begun:
        raise _torn("gzip")


def _inflate(member: Any, data: bytes) -> tuple[bytes, bytes, bool]:
    """One bounded piece, what of the data is left, and whether the member ended."""
    try:
        piece = member.decompress(data, PIECE_BYTES)
    except zlib.error as error:
        raise _broken("gzip") from error
    return piece, (member.unused_data if member.eof else member.unconsumed_tail), member.eof


def _unzstd(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Frames one after another (RFC 8878 section 3.1)."""
    decoder = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES)
    frame, begun = decoder.decompressobj(), False
    for data in _slices(chunks):
        while data:
            begun = True
            try:
                piece = frame.decompress(data)
            except zstandard.ZstdError as error:
                raise _broken("zstd", str(error)) from error
            if piece:
                yield piece
            data = frame.unused_data if frame.eof else b""
            if frame.eof:
                frame, begun = decoder.decompressobj(), False
    if begun:
        raise _torn("zstd")


def _slices(chunks: Iterator[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        for start in range(0, len(chunk), ZSTD_SLICE_BYTES):
            yield chunk[start : start + ZSTD_SLICE_BYTES]


def _torn(kind: str) -> Invalid:
    return Invalid(f"The {kind} input ends in the middle.", remedy="Copy or download it again; nothing has run.")


def _broken(kind: str, detail: str = "") -> Invalid:
    more = " Archives with a window above 128 MiB are not read." if "memory" in detail else ""
    return Invalid(f"The {kind} input is damaged.{more}", remedy="Make or download it again; nothing has run.")
