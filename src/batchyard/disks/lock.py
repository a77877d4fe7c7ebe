"""One process at a time in a folder: a lock that ends with its process, however that ends.

Who holds it may remove the folder with the lock in it.
"""

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
        path = f"{self._folder}/lock"
        while self._descriptor < 0:
            Path(self._folder).mkdir(parents=True, exist_ok=True)
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            except FileNotFoundError:  # its last holder has just removed the folder
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                os.close(descriptor)
                raise Conflict(
                    f"Another process is at work in {self._folder}.",
                    remedy="Wait for it or stop it, or give another output.",
                ) from error
            if _is_still(path, descriptor):
                self._descriptor = descriptor
            else:  # its last holder has removed it since we opened it: whoever comes now makes a new one
                os.close(descriptor)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)
        self._descriptor = -1


def _is_still(path: str, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))  # noqa: PTH116
    except FileNotFoundError:
        return False
