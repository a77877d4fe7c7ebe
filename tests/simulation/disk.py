"""A disk in memory that keeps what was synced apart from what was not.

A power cut loses or tears everything unsynced: bytes in pieces, names one by one. A killed process loses nothing that
the system's memory holds. The disk can be full, and a sync can fail; what a failed sync left unsynced is then never
written by a later one, as on Linux.
"""

import errno
import posixpath
import zlib
from dataclasses import dataclass, field
from random import Random

from batchyard.disk import Buffer
from tests.simulation.trace import Trace


class PowerCut(SystemExit):
    """The run ends here and now. A SystemExit passes through tasks and out of the loop."""


@dataclass
class Faults:
    """What goes wrong: after which call the power is cut, how many bytes fit, which sync fails."""

    cut_at_call: int | None = None
    capacity_bytes: int | None = None
    failing_sync: int | None = None


Change = tuple[int, bytes | None]
"""Bytes written at an offset; None cuts the file to the offset."""


@dataclass
class _File:
    seen: bytearray = field(default_factory=bytearray)
    safe: bytearray = field(default_factory=bytearray)
    unsynced: list[Change] = field(default_factory=list[Change])

    def change(self, change: Change) -> None:
        _apply(self.seen, change)
        self.unsynced.append(change)

    def sync(self) -> None:
        for change in self.unsynced:
            _apply(self.safe, change)
        self.unsynced.clear()

    def cut(self, random: Random) -> None:
        """Keep what was synced, and of the rest what chance wills."""
        mood = random.choice(("nothing", "everything", "beginning", "pieces"))
        kept = random.randrange(len(self.unsynced) + 1) if mood == "beginning" else len(self.unsynced)
        for number, change in enumerate(self.unsynced):
            if mood == "everything" or (mood == "beginning" and number < kept):
                _apply(self.safe, change)
            elif mood == "pieces" or (mood == "beginning" and number == kept):
                _tear(self.safe, change, random)
        self.unsynced.clear()
        self.seen = bytearray(self.safe)


NameChange = tuple[str, str, "_File | None"]
"""A path gets a file, or loses it (None), and another path loses it at once (a rename) or not ("")."""


@dataclass
class _Contents:
    """All there is: names seen and safe, folders seen and safe, and the changes between them, by folder."""

    seen: dict[str, _File] = field(default_factory=dict[str, _File])
    safe: dict[str, _File] = field(default_factory=dict[str, _File])
    folders: set[str] = field(default_factory=lambda: {"/"})
    safe_folders: set[str] = field(default_factory=lambda: {"/"})
    unsynced: dict[str, list[NameChange]] = field(default_factory=dict[str, list[NameChange]])

    def change(self, change: NameChange) -> None:
        _rename(self.seen, change)
        self.unsynced.setdefault(posixpath.dirname(change[0]), []).append(change)

    def sync(self, folder: str) -> None:
        for change in self.unsynced.pop(folder, ()):
            _rename(self.safe, change)
        self.safe_folders |= {path for path in self.folders if posixpath.dirname(path) == folder}

    def cut(self, random: Random) -> None:
        for changes in self.unsynced.values():
            for change in changes:
                if random.random() < 0.5:
                    _rename(self.safe, change)
        self.unsynced.clear()
        self.folders = {path for path in sorted(self.folders) if path in self.safe_folders or random.random() < 0.5}
        self.folders = {path for path in self.folders if _parents(path) <= self.folders}
        self.safe_folders = set(self.folders)
        self.safe = {path: file for path, file in self.safe.items() if posixpath.dirname(path) in self.folders}
        self.seen = dict(self.safe)
        for path in sorted(self.seen):
            self.seen[path].cut(random)


class FaultyDisk:
    """See the module. After `cut` or `kill` this one refuses every call, and the disk that is returned goes on."""

    def __init__(self, random: Random, trace: Trace, faults: Faults, contents: _Contents | None = None) -> None:
        self.faults = faults
        self.calls = 0
        self._random = random
        self._trace = trace
        self._contents = contents or _Contents()
        self.syncs = 0
        self.was_cut = False
        self._off = False

    def cut(self, faults: Faults) -> "FaultyDisk":
        """The power goes and comes back."""
        self.switch_off()
        self._contents.cut(self._random)
        return FaultyDisk(self._random, self._trace, faults, self._contents)

    def kill(self, faults: Faults) -> "FaultyDisk":
        """The process dies, or ends; the system lives."""
        self.switch_off()
        return FaultyDisk(self._random, self._trace, faults, self._contents)

    def switch_off(self) -> None:
        """Refuse every call from now on."""
        self._off = True

    def open(self, path: str, *, create: bool = False) -> "FaultyHandle":
        self.begin()
        file = self._contents.seen.get(path)
        if file is None:
            if not create or posixpath.dirname(path) not in self._contents.folders:
                raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
            file = _File()
            self._contents.change((path, "", file))
            self.end(f"create {path}")
        return FaultyHandle(self, path, file)

    def exists(self, path: str) -> bool:
        self.begin()
        return path in self._contents.seen or path in self._contents.folders

    def names(self, folder: str) -> list[str]:
        self.begin()
        files = self._contents.seen
        paths = files.keys() | self._contents.folders
        return sorted(posixpath.basename(path) for path in paths if path != "/" and posixpath.dirname(path) == folder)

    def make_folder(self, path: str) -> None:
        self.begin()
        self._contents.folders |= _parents(path) | {path}
        self.end(f"make_folder {path}")

    def rename(self, old: str, new: str) -> None:
        self.begin()
        if old not in self._contents.seen:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", old)
        self._contents.change((new, old, self._contents.seen[old]))
        self.end(f"rename {old} {new}")

    def remove(self, path: str) -> None:
        self.begin()
        if path in self._contents.seen:
            self._contents.change((path, "", None))
        self.end(f"remove {path}")

    def remove_folder(self, path: str) -> None:
        self.begin()
        if any(posixpath.dirname(each) == path for each in self._contents.seen.keys() | self._contents.folders):
            raise OSError(errno.ENOTEMPTY, "Directory not empty", path)
        self._contents.folders.discard(path)
        self._contents.safe_folders.discard(path)
        self.end(f"remove_folder {path}")

    def sync_folder(self, path: str) -> None:
        self.begin()
        self.may_sync()
        self._contents.sync(path)
        self.end(f"sync_folder {path}")

    def files(self) -> dict[str, bytes]:
        """Every file as it is seen now, also when the disk is off; counts as no call."""
        return {path: bytes(file.seen) for path, file in self._contents.seen.items()}

    def begin(self) -> None:
        if self._off:
            raise OSError(errno.EIO, "The power is off")

    def end(self, event: str) -> None:
        """A call has had its effect; perhaps it was the last one."""
        self.calls += 1
        self._trace.note(event)
        if self.calls == self.faults.cut_at_call:
            self.was_cut = True
            self.switch_off()
            raise PowerCut(f"after call {self.calls}: {event}")

    def may_sync(self) -> bool:
        """Raise where this sync is to fail."""
        self.syncs += 1
        if self.syncs == self.faults.failing_sync:
            self._trace.note("sync fails")
            raise OSError(errno.EIO, "Input/output error")
        return True

    def room(self) -> float:
        """How many bytes still fit."""
        if self.faults.capacity_bytes is None:
            return float("inf")
        return self.faults.capacity_bytes - sum(len(file.seen) for file in self._contents.seen.values())


class FaultyHandle:
    """An open file of a faulty disk."""

    def __init__(self, disk: FaultyDisk, path: str, file: _File) -> None:
        self._disk = disk
        self._path = path
        self._file = file

    def read_at(self, offset: int, size: int) -> bytes:
        self._disk.begin()
        return bytes(self._file.seen[offset : offset + size])

    def append(self, data: Buffer) -> None:
        self.write_at(len(self._file.seen), data)

    def write_at(self, offset: int, data: Buffer) -> None:
        self._disk.begin()
        growth = max(0, offset + len(data) - len(self._file.seen))
        lacking = int(max(0, growth - max(0, self._disk.room()))) if growth else 0
        written = bytes(data[: len(data) - lacking])
        if written:
            self._file.change((offset, written))
        self._disk.end(f"write {self._path} {offset} {zlib.adler32(written)}")
        if lacking:
            raise OSError(errno.ENOSPC, "No space left on device", self._path)

    def truncate(self, size: int) -> None:
        self._disk.begin()
        self._file.change((size, None))
        self._disk.end(f"truncate {self._path} {size}")

    def size(self) -> int:
        self._disk.begin()
        return len(self._file.seen)

    def sync(self) -> None:
        self._disk.begin()
        try:
            self._disk.may_sync()
        except OSError:
            self._file.unsynced.clear()
            raise
        self._file.sync()
        self._disk.end(f"sync {self._path}")

    def close(self) -> None:
        self._disk.begin()


def _apply(content: bytearray, change: Change) -> None:
    offset, data = change
    if data is None:
        del content[offset:]
        end = offset
    else:
        end = offset + len(data)
    if len(content) < end:
        content.extend(bytes(end - len(content)))
    if data is not None:
        content[offset:end] = data


def _tear(content: bytearray, change: Change, random: Random) -> None:
    """Apply a part of a change: its beginning, or sectors here and there with holes of zeros between them."""
    offset, data = change
    if data is None or random.random() < 0.5:
        part = data and data[: random.randrange(len(data) + 1)]
        if random.random() < 0.5 or part:
            _apply(content, (offset, part))
        return
    sector = random.choice((8, 64, 512))
    for start in range(0, len(data), sector):
        if random.random() < 0.5:
            _apply(content, (offset + start, data[start : start + sector]))


def _rename(names: dict[str, _File], change: NameChange) -> None:
    path, old, file = change
    if file is None:
        names.pop(path, None)
        return
    names[path] = file
    if names.get(old) is file:
        del names[old]


def _parents(path: str) -> set[str]:
    parents: set[str] = set()
    while path != "/":
        path = posixpath.dirname(path)
        parents.add(path)
    return parents
