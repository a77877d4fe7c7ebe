"""plan: the index of an input file, one fixed-width record per line that is not blank.

The plan is written in the pass that validates the file and never changed once it is sealed. It holds places and hashes,
no text: the input file itself stays the only copy of the requests.

Format (little-endian, no padding but what is named):

    header, 64 bytes
      0   8 bytes   "BATCHYRD"
      8   u16       version, 1
     10   u16       size of a record, 52
     12   u32       0
     16   u64       lines: number of records that follow
     24   u64       followers: lines that take the answer of another
     32   u64       invalid: lines with a flag
     40   20 bytes  0
     60   u32       CRC-32 of the 60 bytes before
    record, 52 bytes, the line's place is the record's number from 0
      0   u64       offset of the line in the input file
      8   u64       prefix: hash of model and start of the prompt; of a line with flag 2, the number of the line that
                    used the id first
     16   u64       digest: hash of the request where an answer is a function of it, else 0
     24   u32       length of the line without its newline, at most 2^32 - 1
     28   u32       number of the physical line, from 1, blank lines counted
     32   u32       check: low half of XXH3-64 of the line
     36   i32       leader: place of the first line with an equal request, -1 where this line is the first or only one
     40   u32       input tokens, estimated
     44   u32       output tokens, at most; 0 where the line names no limit
     48   u32       flags: 1 cannot run as it stands, 2 repeats a custom_id, 4 longer than the limit (never read again)

It appears under its name only when all of it is safe on the disk: it is written to `NAME.new`, synced and renamed.
"""

import re
import zlib
from array import array
from collections.abc import Callable, Iterator
from enum import IntFlag
from itertools import groupby
from struct import Struct as Layout

from msgspec import Struct
from xxhash import xxh3_64_intdigest

from batchyard.disk import Disk, Handle
from batchyard.domain.errors import Conflict, NotFound, TooLarge

MAGIC = b"BATCHYRD"
VERSION = 1
HEADER = Layout("<8sHHIQQQ20xI")
RECORD = Layout("<QQQIIIiIII")
CHUNK_RECORDS = 4096
PENDING_BYTES = 1 << 20
PENDING_MARKS = 1 << 17
MOST_LINES = (1 << 31) - 1
MOST = 0xFFFFFFFF

_LEADER = Layout("<i")
_LEADER_AT = 36
_FLAGS = Layout("<I")
_FLAGS_AT = 48
_PREFIX = Layout("<Q")
_PREFIX_AT = 8
_any_flag = re.compile(rb"[^\0]")


class Flag(IntFlag):
    """Why a line does not run. Without a flag it does."""

    INVALID = 1
    """The dialect refused it, or answered it itself."""
    DUPLICATE_ID = 2
    """An earlier line has its custom_id; `Entry.prefix` is that line's number."""
    TOO_LONG = 4
    """It is longer than lines may be, and was not read."""


class Entry(Struct, frozen=True, gc=False):
    """One record: see the format above."""

    offset: int
    prefix: int
    digest: int
    length: int
    number: int
    check: int
    leader: int
    input_tokens: int
    output_tokens: int
    flags: int


def check_of(line: bytes) -> int:
    """What tells that a line is still the one that was planned: 32 bits of its XXH3-64."""
    return xxh3_64_intdigest(line) & MOST


class PlanWriter:
    """Writes a plan beside its name and puts it there at the end."""

    def __init__(self, disk: Disk, path: str) -> None:
        self._disk = disk
        self._path = path
        self._new = f"{path}.new"
        disk.remove(self._new)
        self._handle = disk.open(self._new, create=True)
        self._handle.append(bytes(HEADER.size))
        self._pending = bytearray()
        self._leaders = _Marks()
        self._duplicates = _Marks()
        self.lines = 0
        self.followers = 0
        self.invalid = 0
        self._open = True

    def extend(self, records: bytes | bytearray, lines: int, invalid: int) -> None:
        """Add `lines` packed records, of which `invalid` have a flag."""
        self._pending += records
        self.lines += lines
        self.invalid += invalid
        if self.lines > MOST_LINES:
            raise TooLarge(f"A file may have {MOST_LINES} lines.", remedy="Split the file.")
        if len(self._pending) >= PENDING_BYTES:
            self._flush()

    def add(self, entry: Entry) -> None:
        """Add one entry."""
        self.extend(pack(entry), 1, 1 if entry.flags else 0)

    def entry(self, place: int) -> Entry:
        """An entry as it is known now, marks included that were applied."""
        self._flush()
        return _entry(self._handle, place)

    def set_leader(self, place: int, leader: int) -> None:
        """Let a line follow an earlier one. Takes effect with `apply`."""
        self.followers += 1
        self._leaders.add(place, leader)
        if self._leaders.full:
            self.apply()

    def set_duplicate(self, place: int, number: int) -> None:
        """Mark a line as the second or later use of the id that line `number` used first. Takes effect with `apply`."""
        self._duplicates.add(place, number)
        if self._duplicates.full:
            self.apply()

    def apply(self) -> None:
        """Write the marks into their records, in the order of the file."""
        self._flush()
        self._duplicates.apply(self._handle, self._mark_duplicate)
        self._leaders.apply(self._handle, _mark_leader)

    def seal(self) -> None:
        """Make the plan safe and give it its name."""
        self.apply()
        self._handle.write_at(0, _header(self.lines, self.followers, self.invalid))
        self._handle.sync()
        self._handle.close()
        self._open = False
        self._disk.rename(self._new, self._path)
        self._disk.sync_folder(self._path.rpartition("/")[0] or ".")

    def discard(self) -> None:
        """Give up what was written. May follow `seal`; then it does nothing."""
        if self._open:
            self._open = False
            self._handle.close()
            self._disk.remove(self._new)

    def _flush(self) -> None:
        if self._pending:
            self._handle.append(self._pending)
            self._pending = bytearray()

    def _mark_duplicate(self, page: bytearray, at: int, number: int) -> None:
        (flags,) = _FLAGS.unpack_from(page, at + _FLAGS_AT)
        self.invalid += not flags
        _FLAGS.pack_into(page, at + _FLAGS_AT, flags | Flag.DUPLICATE_ID)
        _PREFIX.pack_into(page, at + _PREFIX_AT, number)


class Plan:
    """A sealed plan. Memory does not grow with it."""

    def __init__(self, handle: Handle, lines: int, followers: int, invalid: int) -> None:
        self._handle = handle
        self.lines = lines
        self.followers = followers
        self.invalid = invalid

    @classmethod
    def open(cls, disk: Disk, path: str) -> "Plan":
        """Raises NotFound where there is none, Conflict where it is not one that we can read."""
        if not disk.exists(path):
            raise NotFound(f"There is no plan at {path}.")
        handle = disk.open(path)
        try:
            return cls(handle, *_counts(handle, path))
        except Conflict:
            handle.close()
            raise

    def entry(self, place: int) -> Entry:
        if not 0 <= place < self.lines:
            raise IndexError(place)
        return _entry(self._handle, place)

    def entries(self, start: int = 0) -> Iterator[tuple[int, Entry]]:
        """Places and entries from `start` on, in the order of the file."""
        place = start
        while place < self.lines:
            for fields in RECORD.iter_unpack(self._records(place)):
                yield place, Entry(*fields)
                place += 1

    def flagged(self) -> Iterator[tuple[int, Entry]]:
        """Places and entries of the lines with a flag; quick where they are few."""
        for start in range(0, self.lines, CHUNK_RECORDS):
            chunk = self._records(start)
            for found in _any_flag.finditer(chunk[_FLAGS_AT :: RECORD.size]):
                place = found.start()
                yield start + place, Entry(*RECORD.unpack_from(chunk, place * RECORD.size))

    def close(self) -> None:
        self._handle.close()

    def _records(self, start: int) -> bytes:
        count = min(CHUNK_RECORDS, self.lines - start)
        return self._handle.read_at(HEADER.size + start * RECORD.size, count * RECORD.size)


def pack(entry: Entry) -> bytes:
    """The record of an entry."""
    return RECORD.pack(
        entry.offset,
        entry.prefix,
        entry.digest,
        entry.length,
        entry.number,
        entry.check,
        entry.leader,
        entry.input_tokens,
        entry.output_tokens,
        entry.flags,
    )


class _Marks:
    """Numbers to be written into records that are on the disk already, gathered so that pages are touched once."""

    def __init__(self) -> None:
        self._marks = array("Q")

    @property
    def full(self) -> bool:
        return len(self._marks) >= PENDING_MARKS

    def add(self, place: int, number: int) -> None:
        self._marks.append(place << 32 | number)

    def apply(self, handle: Handle, mark: Callable[[bytearray, int, int], None]) -> None:
        marks = sorted(self._marks)
        self._marks = array("Q")
        for start, inside in groupby(marks, key=lambda each: (each >> 32) // CHUNK_RECORDS):
            offset = HEADER.size + start * CHUNK_RECORDS * RECORD.size
            page = bytearray(handle.read_at(offset, CHUNK_RECORDS * RECORD.size))
            for each in inside:
                mark(page, ((each >> 32) % CHUNK_RECORDS) * RECORD.size, each & MOST)
            handle.write_at(offset, page)


def _mark_leader(page: bytearray, at: int, leader: int) -> None:
    _LEADER.pack_into(page, at + _LEADER_AT, leader)


def _entry(handle: Handle, place: int) -> Entry:
    return Entry(*RECORD.unpack(handle.read_at(HEADER.size + place * RECORD.size, RECORD.size)))


def _header(lines: int, followers: int, invalid: int) -> bytes:
    start = HEADER.pack(MAGIC, VERSION, RECORD.size, 0, lines, followers, invalid, 0)[:-4]
    return start + zlib.crc32(start).to_bytes(4, "little")


def _counts(handle: Handle, path: str) -> tuple[int, int, int]:
    header = handle.read_at(0, HEADER.size)
    if len(header) < HEADER.size or zlib.crc32(header[:-4]).to_bytes(4, "little") != header[-4:]:
        raise Conflict(f"The plan at {path} is damaged.", remedy="Start over with --fresh.")
    magic, version, size, _, lines, followers, invalid, _ = HEADER.unpack(header)
    if magic != MAGIC or version != VERSION or size != RECORD.size:
        raise Conflict(f"The plan at {path} is of another version.", remedy="Start over with --fresh.")
    if handle.size() != HEADER.size + lines * RECORD.size:
        raise Conflict(f"The plan at {path} is cut short.", remedy="Start over with --fresh.")
    return lines, followers, invalid
