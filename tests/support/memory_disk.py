"""A disk in memory, for tests that need many small files quickly. What was written is at once safe."""

from batchyard.disk import Buffer, Handle


class MemoryHandle:
    def __init__(self, path: str, data: bytearray, events: list[str]) -> None:
        self._path = path
        self._data = data
        self._events = events
        self.largest_read = 0

    def read_at(self, offset: int, size: int) -> bytes:
        self.largest_read = max(self.largest_read, size)
        return bytes(self._data[offset : offset + size])

    def append(self, data: Buffer) -> None:
        self._data += data

    def write_at(self, offset: int, data: Buffer) -> None:
        self._data[offset : offset + len(data)] = data

    def truncate(self, size: int) -> None:
        del self._data[size:]

    def size(self) -> int:
        return len(self._data)

    def sync(self) -> None:
        self._events.append(f"sync {self._path}")

    def close(self) -> None:
        return None


class MemoryDisk:
    """Files by path in `files`; `opened` lists every handle, `events` what was made safe or renamed."""

    def __init__(self, **files: bytes) -> None:
        self.files = {path: bytearray(data) for path, data in files.items()}
        self.opened: list[MemoryHandle] = []
        self.events: list[str] = []

    def open(self, path: str, *, create: bool = False) -> Handle:
        if path not in self.files:
            if not create:
                raise FileNotFoundError(path)
            self.files[path] = bytearray()
        handle = MemoryHandle(path, self.files[path], self.events)
        self.opened.append(handle)
        return handle

    def exists(self, path: str) -> bool:
        return path in self.files

    def names(self, folder: str) -> list[str]:
        return sorted(path for path in self.files if path.rpartition("/")[0] == folder)

    def make_folder(self, path: str) -> None:
        return None

    def rename(self, old: str, new: str) -> None:
        self.files[new] = self.files.pop(old)
        self.events.append(f"rename {old} {new}")

    def remove(self, path: str) -> None:
        self.files.pop(path, None)

    def remove_folder(self, path: str) -> None:
        return None

    def sync_folder(self, path: str) -> None:
        self.events.append(f"sync {path}")
