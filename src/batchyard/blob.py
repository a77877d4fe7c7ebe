"""The contract of blobs: where bytes live.

A blob is written once, whole, and never changed. Its key is made by us: a folder and a name of letters, digits, `-` and
`_` (`files/file-3fK29xQa`). Every call may raise Unavailable where the bytes cannot be kept or had, NotFound where the
key names nothing.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Protocol

from msgspec import Struct

Put = Callable[[bytes], None]
"""Takes the next bytes of a blob, in the thread of whoever calls; they may be forgotten when it returns."""


class Kept(Struct, frozen=True):
    """What was written. Hashes are hexadecimal; `md5` is None where it was not asked for."""

    bytes: int
    sha256: str
    md5: str | None = None


class Takes(Protocol):
    """Takes bytes, in order: from the event loop (`write`), or from a thread (`fill`). One caller at a time."""

    async def write(self, data: bytes) -> None:
        """Take the next bytes. Returns once they are on their way; memory stays bounded however much is written."""
        ...

    async def fill(self, step: Callable[[Put], None]) -> None:
        """Carry out a step that blocks and puts the next bytes, in a thread: they need not pass the loop.

        Returns once the step has. Raises what it raises; what it had put by then stays put.
        """
        ...


Pour = Callable[[Takes], Awaitable[None]]
"""Brings all that there is to what takes it."""


class Writer(Takes, Protocol):
    """A blob on its way. One caller at a time; after `commit` or `abort` it is used no more."""

    @property
    def place(self) -> str | None:
        """Where the bytes lie on this machine's disk while they grow; None where nobody can read them yet."""
        ...

    @property
    def written(self) -> int:
        """How many bytes can be read there."""
        ...

    async def commit(self) -> Kept:
        """Return once the whole blob is safe under its key. Before that nobody sees any of it."""
        ...

    async def abort(self) -> None:
        """Forget everything written. May be called at any time, and after a commit does nothing."""
        ...


class Grower(Writer, Protocol):
    """A blob that grows over many calls, and over restarts."""

    async def secure(self) -> int:
        """Return once what was written until now is safe; how many bytes that is."""
        ...

    async def leave(self) -> None:
        """Let go; what was made safe stays. May be called at any time, and after a commit does nothing."""
        ...


class Blobs(Protocol):
    """Bytes by key."""

    async def create(self, key: str, *, md5: bool = False) -> Writer:
        """Begin a blob under a key that was never used; hashes are taken while it is written."""
        ...

    async def grow(self, key: str, safe: int) -> Grower:
        """Begin a blob, or go on with one that grew before, behind its first `safe` bytes; others are forgotten.

        `written` is less than `safe` where bytes were lost. One that was committed may grow on, as long as nobody was
        told of it. Until the commit `keys` names it, `delete` removes it, and nobody can read it. One caller at a time.
        """
        ...

    async def adopt(self, key: str, path: str) -> Kept:
        """Make a whole file of this machine's disk a blob, under a key that was never used; the path is gone then.

        Raises NotFound where there is no such file.
        """
        ...

    async def size(self, key: str) -> int: ...

    def read_range(self, key: str, start: int, end: int) -> AsyncGenerator[bytes, None]:
        """The bytes from `start` up to, not including, `end`, in chunks; closing the iterator gives the blob back.

        A blob that is deleted meanwhile is read to its end. Raises Unavailable where the blob ends before `end`.
        """
        ...

    async def delete(self, key: str) -> None:
        """Remove a blob; no error where there is none."""
        ...

    async def keys(self, folder: str) -> Sequence[str]:
        """All keys of a folder, in order, also of those that still grow."""
        ...

    def path(self, key: str) -> str | None:
        """Where the bytes lie on this machine's disk, for reading in place; None where they lie elsewhere."""
        ...
