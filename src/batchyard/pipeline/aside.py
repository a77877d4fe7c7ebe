"""A disk of which some files are kept in memory: what is made again sooner than it is made safe.

The plan of a small input takes a millisecond to make; to write, sync, name and sync it takes several. So a walk keeps
it here, and the walk after a crash makes it once more.
"""

from batchyard.disk import Buffer, Disk, Handle


class Aside:
    """Another disk, but every path that begins with `prefix` is a file in memory, gone with this object."""

    def __init__(self, disk: Disk, prefix: str) -> None:
        self._disk = disk
        self._prefix = prefix
        self._folder = prefix.rpartition("/")[0]
        self._made = False
        self._files: dict[str, bytearray] = {}

    def open(self, path: str, *, create: bool = False) -> Handle:
        """As the contract says; what lies on the other disk under such a path is still found there."""
        if path in self._files or (create and path.startswith(self._prefix)):
            return _MemoryHandle(self._files.setdefault(path, bytearray()))
        self._made |= create
        return self._disk.open(path, create=create)

    def exists(self, path: str) -> bool:
        return path in self._files or self._disk.exists(path)

    def names(self, folder: str) -> list[str]:
        return self._disk.names(folder)

    def make_folder(self, path: str) -> None:
        self._disk.make_folder(path)

    def rename(self, old: str, new: str) -> None:
        if old in self._files:
            self._files[new] = self._files.pop(old)
        else:
            self._disk.rename(old, new)

    def remove(self, path: str) -> None:
        if self._files.pop(path, None) is None and not path.startswith(self._prefix):
            self._disk.remove(path)

    def remove_folder(self, path: str) -> None:
        self._disk.remove_folder(path)

    def sync_folder(self, path: str) -> None:
        """Nothing to do for the folder of the files in memory, unless another file was made in it."""
        if path != self._folder or self._made:
            self._disk.sync_folder(path)


class _MemoryHandle:
    """An open file in memory."""

    def __init__(self, content: bytearray) -> None:
        self._content = content

    def read_at(self, offset: int, size: int) -> bytes:
        return bytes(self._content[offset : offset + size])

    def append(self, data: Buffer) -> None:
        self._content += data

    def write_at(self, offset: int, data: Buffer) -> None:
        self._content[offset : offset + len(data)] = data

    def truncate(self, size: int) -> None:
        del self._content[size:]

    def size(self) -> int:
        return len(self._content)

    def sync(self) -> None:
        return None

    def close(self) -> None:
        return None
