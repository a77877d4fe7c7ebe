"""One process at a time in a folder: a lock that ends with its process, however that ends."""

import fcntl
import os
from pathlib import Path
from types import TracebackType

from batchyard.domain.errors import Conflict


class FolderLock:
    """Held while the context is open. Raises Conflict where another process holds it."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._descriptor = -1

    def __enter__(self) -> "FolderLock":
        Path(self._folder).mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(f"{self._folder}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._descriptor)
            raise Conflict(
                f"Another process is at work in {self._folder}.",
                remedy="Wait for it or stop it, or give another output.",
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)
