"""A segment: one file of data with its index, written in groups, and mended when it is opened again."""

import zlib
from collections import deque
from collections.abc import Iterator
from typing import Final

from batchyard.disk import Disk
from batchyard.journals.disk.index import Group, sealed_groups

SEGMENT_BYTES: Final = 1 << 30
"""A segment whose data has reached this takes no further group."""

_CHECKED_BYTES: Final = 1 << 20


def data_path(folder: str, number: int) -> str:
    return f"{folder}/{number:06}.jsonl"


def index_path(folder: str, number: int) -> str:
    return f"{folder}/{number:06}.idx"


def segment_numbers(disk: Disk, folder: str) -> list[int]:
    """The segments of a journal, in order."""
    stems = {name.partition(".")[0] for name in disk.names(folder) if name.endswith((".jsonl", ".idx"))}
    return sorted(int(stem) for stem in stems if stem.isdecimal())


class Segment:
    """Both files of one segment, made where they do not exist. Every call blocks and may raise OSError."""

    def __init__(self, disk: Disk, folder: str, number: int) -> None:
        self.number = number
        self._data = disk.open(data_path(folder, number), create=True)
        self._index = disk.open(index_path(folder, number), create=True)
        disk.sync_folder(folder)

    def write(self, data: bytes, records: bytes) -> None:
        """Make a group durable. The index is written only once its data is safe: a seal never speaks of less."""
        self._data.append(data)
        self._data.sync()
        self._index.append(records)
        self._index.sync()

    def groups(self) -> Iterator[Group]:
        """The groups that count, in order. The data of the last ones is checked too: the end is where tears are."""
        held: deque[Group] = deque()
        data_size = self._data.size()
        for group in sealed_groups(self._index):
            if group.data_end > data_size:
                break
            held.append(group)
            while group.data_end - held[0].data_end > _CHECKED_BYTES:
                yield held.popleft()
        for group in held:
            if not self._holds(group):
                break
            yield group

    def mend(self, last: Group | None) -> int:
        """Remove what follows the last group that counts, and say where the data ends now.

        The end of the index is written once more: where the process before us saw its sync fail, it may stand in the
        system's memory only, and no later sync would write it. The data needs none: it was safe before the index was
        written.
        """
        data_end, index_end = (last.data_end, last.end) if last else (0, 0)
        self._data.truncate(data_end)
        self._index.truncate(index_end)
        if last:
            self._index.write_at(last.start, last.record_bytes)
        self._index.sync()
        return data_end

    def close(self) -> None:
        self._data.close()
        self._index.close()

    def _data_of(self, group: Group) -> bytes:
        return self._data.read_at(group.data_start, group.data_end - group.data_start)

    def _holds(self, group: Group) -> bool:
        data, start = memoryview(self._data_of(group)), group.data_start
        return all(
            zlib.crc32(data[offset - start : offset - start + length]) == check
            for offset, length, check in group.spans()
        )
