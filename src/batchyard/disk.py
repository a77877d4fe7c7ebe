"""The contract of a disk: what the stations need of a file system, and what they may rely on after a power cut.

Every call blocks and may raise OSError (ENOSPC where it is full). Bytes written are safe only after `sync` of their
handle; a created, renamed or removed name is safe only after `sync_folder` of its folder. An implementation may lose or
tear anything that was not synced, and nothing that was.
"""

from typing import Protocol, TypeAlias

Buffer: TypeAlias = bytes | bytearray | memoryview


class Handle(Protocol):
    """An open file."""

    def read_at(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset`; fewer only at the end of the file."""
        ...

    def append(self, data: Buffer) -> None:
        """Write all of `data` at the end of the file, or raise; after an error the tail may hold a part of it."""
        ...

    def write_at(self, offset: int, data: Buffer) -> None:
        """Overwrite bytes in place."""
        ...

    def truncate(self, size: int) -> None: ...

    def size(self) -> int: ...

    def sync(self) -> None:
        """Return once everything written so far is safe. May run in a thread beside one that writes on."""
        ...

    def close(self) -> None: ...


class Disk(Protocol):
    """Files by path. Paths are strings with `/`."""

    def open(self, path: str, *, create: bool = False) -> Handle:
        """Open for reading and writing; with `create`, make an empty file where there is none."""
        ...

    def exists(self, path: str) -> bool: ...

    def names(self, folder: str) -> list[str]:
        """Names in a folder, sorted; empty where the folder does not exist."""
        ...

    def make_folder(self, path: str) -> None:
        """Make the folder and its parents; no error where it exists."""
        ...

    def rename(self, old: str, new: str) -> None:
        """Replace `new` by `old`, atomically."""
        ...

    def remove(self, path: str) -> None:
        """Remove a file; no error where there is none."""
        ...

    def remove_folder(self, path: str) -> None:
        """Remove an empty folder; no error where there is none, OSError where it holds anything."""
        ...

    def sync_folder(self, path: str) -> None: ...
