"""One server per data folder: a lock that the system lets go when its holder ends, however it ends."""

import fcntl
import os

from batchyard.domain.errors import Conflict, Unavailable

NAME = "lock"


class FolderLock:
    """Holds a folder until it is released, or the process ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        """Let others have it. May be called twice."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def hold(folder: str) -> FolderLock:
    """Hold a folder, which must exist. Raises Conflict where another process holds it.

    The file stays behind: removing it would let two processes hold two files of the same name.
    """
    path = f"{folder}/{NAME}"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unavailable(f"{folder} cannot be used: {error.strerror}.", remedy="Check its rights.") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise Conflict(
            f"{folder} is in use by another server (process {holder}).",
            remedy="Stop that one first, or give this one a data folder of its own.",
        ) from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return FolderLock(descriptor)
