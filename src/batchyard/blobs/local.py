"""Blobs on a local disk: one file each, written under a temporary name, synced, then renamed into place.

Each stream of bytes, in or out, has lanes of its own, so that steps of one never overtake each other and a long one
holds nobody else up. A writer writes what came last, while it hashes what came before.
"""

import asyncio
import errno
import hashlib
import re
from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial
from typing import Protocol, TypeVar

from msgspec import Struct

from batchyard.blob import Kept, Put
from batchyard.disk import Disk, Handle
from batchyard.domain.errors import NotFound, Unavailable
from batchyard.offload import Lanes, Offload, Together, Wish

T = TypeVar("T")

FOLDERS = ("files", "parts")
_NEW = "new"
_GROWING = "growing"
_HASHES = 1024
"""Of how many blobs that grow the hash so far is remembered; that of others is taken again from their bytes."""
_WRITE_BYTES = 1 << 20
_READ_BYTES = 1 << 20
_SYNC_BYTES = 64 << 20
"""A big blob is synced as it grows, beside its writing: so the disk is busy from the beginning, and the end is near
when the last byte has come."""
_KEY = re.compile(rf"(?:{'|'.join(FOLDERS)})/[A-Za-z0-9_-]{{1,200}}")


class Hash(Protocol):
    """A hash that is being taken."""

    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...


class Config(Struct, frozen=True, kw_only=True):
    """`folder` is ours alone; its parent exists and is safe."""

    folder: str


class LocalBlobs:
    """See the contract. Made by `open`."""

    def __init__(self, disk: Disk, offload: Offload, folder: str, lanes: Lanes | None = None) -> None:
        self._disk = disk
        self._offload = offload
        self._folder = folder
        self._lanes = lanes
        self._begun = 0
        self._names: Together[tuple[str, str]] = Together(offload, self._keep_all)
        self._hashes: dict[str, tuple[int, Hash]] = {}

    async def create(self, key: str, *, md5: bool = False) -> "LocalWriter":
        path = self.path(key)
        self._begun += 1
        new = f"{self._folder}/{_NEW}/{self._begun}"
        handle = await self._next_lane()(lambda: self._disk.open(new, create=True))
        return LocalWriter(self, self._next_lane, handle, new, path, md5=md5)

    async def grow(self, key: str, safe: int) -> "LocalGrower":
        path, growing = self.path(key), self._growing(key)
        lane = self._next_lane()
        handle, size = await lane(lambda: self._open_growing(growing, path, safe))
        known = self._hashes.pop(growing, None)
        try:
            sha256 = known[1] if known is not None and known[0] == size else await _hashed(lane, handle, size)
        except BaseException:
            await lane(handle.close)
            raise
        return LocalGrower(self, self._next_lane, handle, growing, path, size, sha256)

    async def adopt(self, key: str, path: str) -> Kept:
        new = self.path(key)
        kept = await self._run(lambda: _read_small(self._disk, path))
        if kept is None:
            kept = await self._read_big(path)
        await self._names((path, new))
        return kept

    async def _read_big(self, path: str) -> Kept:
        lane = self._next_lane()
        handle = await lane(lambda: self._disk.open(path))
        sha256, size = hashlib.sha256(), 0
        try:
            while chunk := await lane(partial(_fed, handle, size, sha256.update)):
                size += chunk
            await lane(handle.sync)
        finally:
            await lane(handle.close)
        return Kept(size, sha256.hexdigest())

    async def size(self, key: str) -> int:
        return await self._run(lambda: self._size(key))

    async def read_range(self, key: str, start: int, end: int) -> AsyncGenerator[bytes, None]:
        lane = self._next_lane()
        handle = await lane(lambda: self._open(key))
        try:
            while start < end:
                chunk = await lane(partial(handle.read_at, start, min(_READ_BYTES, end - start)))
                if not chunk:
                    raise Unavailable(f"The stored bytes of {key} are cut short.", remedy="Restore them from a backup.")
                start += len(chunk)
                yield chunk
        finally:
            await lane(handle.close)  # behind a read that may still be under way

    async def delete(self, key: str) -> None:
        path, growing = self.path(key), self._growing(key)
        self._hashes.pop(growing, None)
        await self._run(lambda: self._remove(path, growing))

    async def keys(self, folder: str) -> Sequence[str]:
        return await self._run(lambda: self._keys(folder))

    def path(self, key: str) -> str:
        if not _KEY.fullmatch(key):
            raise ValueError(f"not the key of a blob: {key!r}")
        return f"{self._folder}/{key}"

    def remember(self, growing: str, size: int, sha256: Hash) -> None:
        """Keep the hash of what has grown so far."""
        if len(self._hashes) >= _HASHES:
            self._hashes.pop(next(iter(self._hashes)))
        self._hashes[growing] = size, sha256

    def keep(self, new: str, path: str) -> None:
        """Give a finished file its name, and make the name safe."""
        self._disk.rename(new, path)
        self._disk.sync_folder(path.rpartition("/")[0])

    def _keep_all(self, wishes: Sequence[Wish[tuple[str, str]]]) -> None:
        """Give several finished files their names, and make the names safe together."""
        for wish in wishes:
            try:
                self._disk.rename(*wish.what)
            except OSError as error:
                wish.error = _told_as(error)
        for folder in {wish.what[1].rpartition("/")[0]: None for wish in wishes}:
            _told(partial(self._disk.sync_folder, folder))

    def forget(self, new: str) -> None:
        self._disk.remove(new)

    def sync_growing(self) -> None:
        """Make the names of blobs that grow safe."""
        self._disk.sync_folder(f"{self._folder}/{_GROWING}")

    def _growing(self, key: str) -> str:
        """Where a blob lies while it grows: names are never used twice, whatever their folder."""
        return f"{self._folder}/{_GROWING}/{key.replace('/', '.')}"

    def _open_growing(self, growing: str, path: str, safe: int) -> tuple[Handle, int]:
        """The file, cut behind its first `safe` bytes, and how many it has."""
        if not self._disk.exists(growing) and self._disk.exists(path):
            self._disk.rename(path, growing)  # committed, but its file was never written down
        handle = self._disk.open(growing, create=True)
        try:
            size = handle.size()
            if size > safe:
                handle.truncate(safe)
        except BaseException:
            handle.close()
            raise
        return handle, min(size, safe)

    def _remove(self, path: str, growing: str) -> None:
        self._disk.remove(growing)
        self._disk.remove(path)

    def _keys(self, folder: str) -> Sequence[str]:
        whole = self._disk.names(f"{self._folder}/{folder}")
        growing = self._disk.names(f"{self._folder}/{_GROWING}")
        grown = (name.removeprefix(f"{folder}.") for name in growing if name.startswith(f"{folder}."))
        return [f"{folder}/{name}" for name in sorted({*whole, *grown})]

    async def prepare(self) -> None:
        """Make our folders, and remove what an earlier process had begun and not finished."""
        await self._run(lambda: _prepare(self._disk, self._folder))

    async def _run(self, step: Callable[[], T]) -> T:
        return await self._offload(lambda: _told(step))

    def _next_lane(self) -> "_Lane":
        return _Lane(self._offload if self._lanes is None else self._lanes.lane())

    def _size(self, key: str) -> int:
        handle = self._open(key)
        try:
            return handle.size()
        finally:
            handle.close()

    def _open(self, key: str) -> Handle:
        return self._disk.open(self.path(key))


class _Lane:
    """Runs the steps of a stream, in their order; the disk's errors become ours."""

    def __init__(self, offload: Offload) -> None:
        self._offload = offload

    async def __call__(self, step: Callable[[], T]) -> T:
        return await self._offload(lambda: _told(step))


class _Beside:
    """A step under way beside its caller, one at a time. A caller that leaves does not end it."""

    def __init__(self, lane: _Lane) -> None:
        self._lane = lane
        self._task: asyncio.Task[BaseException | None] | None = None

    def begin(self, step: Callable[[], None]) -> None:
        self._task = asyncio.get_running_loop().create_task(_outcome(self._lane, step))

    async def settle(self) -> None:
        """Wait for it. Raises what went wrong."""
        if self._task is not None and (error := await asyncio.shield(self._task)) is not None:
            raise error
        self._task = None

    async def end(self) -> None:
        """Wait for it, whatever becomes of it."""
        if self._task is not None:
            await asyncio.wait({self._task})
            self._task = None


class LocalWriter:
    """See the contract. Small pieces are gathered, so that a thread is troubled once per megabyte.

    Four steps may be under way side by side: one that brings what comes next (`fill`), the writing of what came before,
    the hashing of what was written before that, and now and then a sync. All are waited for before the blob is kept or
    given up.
    """

    def __init__(
        self,
        blobs: LocalBlobs,
        lane: Callable[[], _Lane],
        handle: Handle,
        new: str,
        path: str,
        written: int = 0,
        sha256: Hash | None = None,
        *,
        md5: bool = False,
    ) -> None:
        self._blobs = blobs
        self._lane = lane()
        self._handle: Handle | None = handle
        self._new = new
        self._path = path
        self._gathered: list[bytes] = []
        self._gathered_bytes = 0
        self._unhashed: list[bytes] = []
        self._hashed = written
        self._written = written
        self._synced = written
        self._sha256: Hash = sha256 or hashlib.sha256()
        self._md5: Hash | None = hashlib.md5(usedforsecurity=False) if md5 else None
        self._filling, self._writing = _Beside(lane()), _Beside(self._lane)
        self._hashing, self._syncing = _Beside(lane()), _Beside(lane())

    @property
    def place(self) -> str | None:
        return self._new

    @property
    def written(self) -> int:
        return self._written

    async def write(self, data: bytes) -> None:
        self._gather(data)
        await self._pass_on()

    async def fill(self, step: Callable[[Put], None]) -> None:
        errors: list[BaseException] = []
        self._filling.begin(partial(_carry_out, step, self._gather, errors))
        await self._filling.settle()
        await self._pass_on()
        if errors:
            raise errors[0]

    async def commit(self) -> Kept:
        await self._filling.end()
        await self._settle_writing()
        await self._hashing.settle()
        await self._syncing.settle()
        return await self._lane(self._commit)

    async def abort(self) -> None:
        await self._end_steps()
        await self._lane(self._abort)

    async def _end_steps(self) -> None:
        for step in (self._filling, self._writing, self._hashing, self._syncing):
            await step.end()

    async def _pass_on(self) -> None:
        """Have what was gathered written, beside what comes next, once that is worth a step."""
        if self._gathered_bytes >= _WRITE_BYTES:
            await self._settle_writing()
            self._writing.begin(partial(self._write_all, self._taken()))

    async def _settle_writing(self) -> None:
        """Have what is being written written; hash it, and now and then sync it, beside what comes next."""
        await self._writing.settle()
        if self._unhashed:
            await self._hashing.settle()
            self._hashing.begin(partial(self._hash, self._unhashed))
            self._unhashed = []
        if self._written - self._synced >= _SYNC_BYTES:
            await self._syncing.settle()  # the disk sets the pace: at most two such lots are not safe
            self._synced = self._written
            self._syncing.begin(self._open().sync)

    def _gather(self, data: bytes) -> None:
        self._gathered.append(data)
        self._gathered_bytes += len(data)

    def _taken(self) -> list[bytes]:
        """What has been gathered, which is not gathered any more."""
        pieces, self._gathered, self._gathered_bytes = self._gathered, [], 0
        return pieces

    def _write_all(self, pieces: list[bytes]) -> None:
        """Write pieces; small ones joined: each call of the system takes and gives the interpreter's lock."""
        for data in pieces if max(map(len, pieces), default=0) >= _WRITE_BYTES else [b"".join(pieces)]:
            self._write(data)

    def _write(self, data: bytes) -> None:
        self._open().write_at(self._written, data)
        self._written += len(data)
        self._unhashed.append(data)

    def _hash(self, pieces: Sequence[bytes]) -> None:
        for data in pieces:
            self._sha256.update(data)
            if self._md5 is not None:
                self._md5.update(data)
            self._hashed += len(data)

    def _hash_rest(self) -> None:
        pieces, self._unhashed = self._unhashed, []
        self._hash(pieces)

    def _commit(self) -> Kept:
        handle = self._open()
        self._write_all(self._taken())
        self._hash_rest()
        handle.sync()
        self._close()
        self._blobs.keep(self._new, self._path)
        return Kept(self._written, self._sha256.hexdigest(), self._md5.hexdigest() if self._md5 else None)

    def _abort(self) -> None:
        self._gathered, self._unhashed = [], []
        if self._handle is not None:
            self._close()
        self._blobs.forget(self._new)  # after a commit the name is gone already

    def _open(self) -> Handle:
        if self._handle is None:
            raise Unavailable("The writing of these bytes was given up.")
        return self._handle

    def _close(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            handle.close()


class LocalGrower(LocalWriter):
    """See the contract."""

    _named = False

    async def secure(self) -> int:
        await self._filling.end()
        await self._settle_writing()
        await self._syncing.settle()
        await self._lane(self._secure)
        return self._written

    async def leave(self) -> None:
        await self._end_steps()
        await self._lane(self._leave)

    def _secure(self) -> None:
        handle = self._open()
        self._write_all(self._taken())
        handle.sync()
        self._synced = self._written
        if not self._named:
            self._blobs.sync_growing()
            self._named = True

    def _leave(self) -> None:
        if self._handle is not None:
            self._close()
            self._hash_rest()
            if self._hashed == self._written:
                self._blobs.remember(self._new, self._written, self._sha256)


def _carry_out(step: Callable[[Put], None], put: Put, errors: list[BaseException]) -> None:
    """Carry out a step that puts bytes. What it raises is its caller's to know, and no fault of the disk's."""
    try:
        step(put)
    except BaseException as error:
        errors.append(error)


async def _hashed(lane: _Lane, handle: Handle, size: int) -> Hash:
    """The hash of the first so many bytes."""
    sha256 = hashlib.sha256()
    for start in range(0, size, _READ_BYTES):
        await lane(partial(_fed, handle, start, sha256.update, min(_READ_BYTES, size - start)))
    return sha256


async def _outcome(lane: _Lane, step: Callable[[], None]) -> BaseException | None:
    """What went wrong with a step, for whoever waits for it."""
    try:
        await lane(step)
    except BaseException as error:
        return error
    return None


async def open(config: Config, disk: Disk, offload: Offload, *, lanes: Lanes | None = None) -> LocalBlobs:
    """Open the blobs of a folder, without what an earlier process had begun and not finished.

    Streams run in `lanes`; small steps, and without lanes all of them, in the offload.
    """
    blobs = LocalBlobs(disk, offload, config.folder, lanes)
    await blobs.prepare()
    return blobs


def _prepare(disk: Disk, folder: str) -> None:
    for name in (_NEW, _GROWING, *FOLDERS):
        disk.make_folder(f"{folder}/{name}")
    for name in disk.names(f"{folder}/{_NEW}"):
        disk.remove(f"{folder}/{_NEW}/{name}")
    disk.sync_folder(folder)
    disk.sync_folder(folder.rpartition("/")[0] or "/")


def _read_small(disk: Disk, path: str) -> Kept | None:
    """Make a file safe and hash it, in one step; None where it takes several."""
    handle = disk.open(path)
    try:
        content = handle.read_at(0, _READ_BYTES)
        if len(content) == _READ_BYTES:
            return None
        handle.sync()
    finally:
        handle.close()
    return Kept(len(content), hashlib.sha256(content).hexdigest())


def _fed(handle: Handle, start: int, update: Callable[[bytes], None], size: int = _READ_BYTES) -> int:
    """Feed a hash the next bytes; how many."""
    chunk = handle.read_at(start, size)
    update(chunk)
    return len(chunk)


def _told(step: Callable[[], T]) -> T:
    """Run a blocking step; the disk's errors become ours."""
    try:
        return step()
    except OSError as error:
        raise _told_as(error) from error


def _told_as(error: OSError) -> NotFound | Unavailable:
    return NotFound("There are no such bytes.") if isinstance(error, FileNotFoundError) else _unavailable(error)


def _unavailable(error: OSError) -> Unavailable:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Unavailable("The disk is full.", remedy="Make room on the disk of the data folder.", reason="disk_full")
    return Unavailable(
        f"The disk cannot serve: {error.strerror or error}.", remedy="Check the disk of the data folder."
    )
