"""The machine's own file system, with positioned reads and writes on plain descriptors."""

import errno
import os
import sys
from contextlib import suppress
from pathlib import Path

from batchyard.disk import Buffer, Handle

_READ_ONLY_ERRORS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_FOLDERS_WITHOUT_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP})

if sys.platform == "darwin":
    import fcntl

    def _sync(descriptor: int) -> None:
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)  # fsync there leaves the bytes in the drive's own cache
else:
    _sync = os.fdatasync  # also makes safe what of the metadata is needed to read the bytes: the file's size


class LocalHandle:
    """An open descriptor. Calls may come from any thread, one at a time."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read_at(self, offset: int, size: int) -> bytes:
        first = os.pread(self._descriptor, size, offset)
        if len(first) == size or not first:
            return first
        return self._read_on([first], offset + len(first), size - len(first))

    def append(self, data: Buffer) -> None:
        self.write_at(self.size(), data)

    def write_at(self, offset: int, data: Buffer) -> None:
        rest = memoryview(data).cast("B")
        while rest:
            written = os.pwrite(self._descriptor, rest, offset)
            offset += written
            rest = rest[written:]

    def truncate(self, size: int) -> None:
        os.ftruncate(self._descriptor, size)

    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def sync(self) -> None:
        _sync(self._descriptor)

    def close(self) -> None:
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)

    def _read_on(self, parts: list[bytes], offset: int, wanted: int) -> bytes:
        while wanted:
            part = os.pread(self._descriptor, wanted, offset)
            if not part:
                break
            parts.append(part)
            offset += len(part)
            wanted -= len(part)
        return b"".join(parts)


class LocalDisk:
    """POSIX files. A name that `open(create=True)` made is safe only after `sync_folder`, as the contract says."""

    def open(self, path: str, *, create: bool = False) -> Handle:
        """As the contract says; a file that may only be read is opened for reading."""
        if create:
            return LocalHandle(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666))
        try:
            return LocalHandle(os.open(path, os.O_RDWR | os.O_CLOEXEC))
        except OSError as error:
            if error.errno not in _READ_ONLY_ERRORS:
                raise
            return LocalHandle(os.open(path, os.O_RDONLY | os.O_CLOEXEC))

    def exists(self, path: str) -> bool:
        return Path(path).exists()

    def names(self, folder: str) -> list[str]:
        try:
            return sorted(entry.name for entry in Path(folder).iterdir())
        except FileNotFoundError:
            return []

    def make_folder(self, path: str) -> None:
        Path(path).mkdir(parents=True, exist_ok=True)

    def rename(self, old: str, new: str) -> None:
        Path(old).replace(new)

    def remove(self, path: str) -> None:
        Path(path).unlink(missing_ok=True)

    def remove_folder(self, path: str) -> None:
        with suppress(FileNotFoundError):
            Path(path).rmdir()

    def sync_folder(self, path: str) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in _FOLDERS_WITHOUT_SYNC:
                raise
        finally:
            os.close(descriptor)
