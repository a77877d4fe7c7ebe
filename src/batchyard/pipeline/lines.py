"""Cutting an input file into lines, and finding a planned line again."""

from collections.abc import Callable, Iterator
from io import BytesIO

from msgspec import Struct

from batchyard.disk import Disk, Handle
from batchyard.domain.errors import Conflict
from batchyard.pipeline.plan import Entry, check_of

CHUNK_BYTES = 1 << 18
GAP_BYTES = 64
"""How far apart lines may be (newlines, blank lines) and still count as asked for in order."""
MARK = b"\xef\xbb\xbf"
"""The byte order mark: dropped at the start of the file."""


class Block(Struct, gc=False):
    """Lines that follow each other, the first at `offset`, each ended by a newline (but perhaps the file's last)."""

    offset: int
    lines: list[bytes]


class LongLine(Struct, gc=False):
    """A line that is longer than the limit, of which nothing was kept."""

    offset: int
    length: int


def blocks(handle: Handle, most: int, on_chunk: Callable[[bytes], None]) -> Iterator[Block | LongLine]:
    """All lines of a file, without their newlines; of a line longer than `most` bytes only where it was.

    `on_chunk` sees all bytes. At most `most` bytes and two chunks are in memory. A line that lies within one chunk
    comes in its block whatever its length.
    """
    head: list[bytes] = []
    kept = offset = 0
    position = 0
    while chunk := handle.read_at(position, CHUNK_BYTES):
        on_chunk(chunk)
        if position == 0 and chunk.startswith(MARK):
            offset = len(MARK)
            position, chunk = len(MARK), chunk[len(MARK) :]
        position += len(chunk)
        lines = list(BytesIO(chunk))  # finds newlines several times as quickly as split does
        rest = lines.pop() if lines and not chunk.endswith(b"\n") else b""
        lines = [line[:-1] for line in lines]
        if lines:
            first = kept + len(lines[0])
            if first > most:
                yield LongLine(offset, first)
                offset += first + 1
                del lines[0]
            else:
                head.append(lines[0])
                lines[0] = b"".join(head)
            head.clear()
            yield Block(offset, lines)
            kept, offset = 0, position - len(rest)
        kept += len(rest)
        if kept > most:
            head.clear()
        else:
            head.append(rest)
    if kept > most:
        yield LongLine(offset, kept)
    elif kept:
        yield Block(offset, [b"".join(head)])


class Reader:
    """Finds the lines of a plan again. Quick where they are asked for in order, and able to jump."""

    def __init__(self, disk: Disk, path: str) -> None:
        self._handle = disk.open(path)
        self._window = b""
        self._start = 0

    def line(self, entry: Entry) -> bytes:
        """The line of an entry. Raises Conflict where it is no longer the one that was planned."""
        line = self._bytes(entry.offset, entry.length)
        if check_of(line) != entry.check:
            raise Conflict(
                f"The input file changed while it was in use: line {entry.number} is not what it was.",
                remedy="Put the file back as it was, or start over with --fresh.",
            )
        return line

    def close(self) -> None:
        self._handle.close()

    def _bytes(self, offset: int, length: int) -> bytes:
        start = offset - self._start
        if start >= 0 and start + length <= len(self._window):
            return self._window[start : start + length]
        if not 0 <= start <= len(self._window) + GAP_BYTES or length >= CHUNK_BYTES:
            return self._jump(offset, length)
        self._start, self._window = offset, self._handle.read_at(offset, CHUNK_BYTES)
        return self._window[:length]

    def _jump(self, offset: int, length: int) -> bytes:
        """Read one line elsewhere; what is asked for next may lie right behind it."""
        line = self._handle.read_at(offset, length)
        self._start, self._window = offset + length, b""
        return line
