"""Which lines repeat an earlier one? Found with a few bytes of memory per line, however long the file is.

Hashes go into 256 buckets by their low byte, as records of 64 bits: the high half of the hash, and the place. What does
not fit into a small buffer is appended to one file, bucket by bucket. Each bucket is then looked at alone.
"""

from array import array
from collections.abc import Callable, Iterator

from batchyard.disk import Disk, Handle
from batchyard.policy.dedupe import repeats

BUCKETS = 256
BUCKET = BUCKETS - 1
KEY = 0xFFFFFFFF00000000
PLACE = 0xFFFFFFFF
PENDING_RECORDS = 1 << 18
"""Records held in memory: 2 MB."""


class Spill:
    """Hashes of lines, to be asked which of them repeat an earlier one. Equal hashes alone decide nothing.

    To be quick, a caller puts records itself: `puts[hash & BUCKET](hash & KEY | place)`, in rising order of place, and
    says with `settle` how many.
    """

    def __init__(self, disk: Disk, path: str) -> None:
        self._disk = disk
        self._path = path
        self._buckets = [array("Q") for _ in range(BUCKETS)]
        self._pieces: list[list[tuple[int, int]]] = [[] for _ in range(BUCKETS)]
        self._handle: Handle | None = None
        self._pending = 0
        self.puts = [bucket.append for bucket in self._buckets]

    def add(self, hash_: int, place: int) -> None:
        """Put one hash."""
        self.puts[hash_ & BUCKET](hash_ & KEY | place)
        self.settle(1)

    def settle(self, count: int) -> None:
        """Take note of `count` records put; writes them away where they are too many."""
        self._pending += count
        if self._pending >= PENDING_RECORDS:
            self._write()
            self._pending = 0

    def repeats(
        self, same: Callable[[int, int], bool], counts: Callable[[int], bool] | None = None
    ) -> Iterator[tuple[int, int]]:
        """Pairs (first, later) of places whose contents are the same, in no particular order.

        `counts` says of a place whether it takes part; all do where it is not given.
        """
        for bucket in range(BUCKETS):
            if self._may_repeat(bucket):
                records = self._records(bucket)
                if counts is not None:
                    records = ((key, place) for key, place in records if counts(place))
                yield from repeats(records, same)

    def close(self) -> None:
        """Remove what was written."""
        if self._handle is not None:
            self._handle.close()
            self._handle = None
            self._disk.remove(self._path)

    def _write(self) -> None:
        if self._handle is None:
            self._disk.remove(self._path)
            self._handle = self._disk.open(self._path, create=True)
        offset = self._handle.size()
        data = bytearray()
        for bucket, pieces in zip(self._buckets, self._pieces, strict=True):
            if bucket:
                pieces.append((offset + len(data), len(bucket) * bucket.itemsize))
                data += memoryview(bucket).cast("B")
                del bucket[:]
        self._handle.append(data)

    def _may_repeat(self, bucket: int) -> bool:
        """Whether a hash is there twice. Most buckets of most files say no, and are done."""
        if len(self._buckets[bucket]) < 2 and not self._pieces[bucket]:
            return False
        seen: set[int] = set()
        for piece in self._arrays(bucket):
            keys = {record >> 32 for record in piece}
            if len(keys) < len(piece) or not seen.isdisjoint(keys):
                return True
            seen |= keys
        return False

    def _records(self, bucket: int) -> Iterator[tuple[int, int]]:
        for piece in self._arrays(bucket):
            for record in piece:
                yield record >> 32, record & PLACE

    def _arrays(self, bucket: int) -> Iterator["array[int]"]:
        for offset, size in self._pieces[bucket]:
            assert self._handle is not None
            piece = array("Q")
            piece.frombytes(self._handle.read_at(offset, size))
            yield piece
        yield self._buckets[bucket]
