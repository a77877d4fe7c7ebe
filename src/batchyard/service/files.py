"""Files: what a project keeps. Bytes are durable before the file exists; they go some time after it is deleted."""

from collections.abc import AsyncGenerator, AsyncIterable, Callable
from contextlib import asynccontextmanager

from batchyard.blob import Blobs, Put
from batchyard.clock import Clock
from batchyard.domain.access import Action, Caller
from batchyard.domain.errors import Conflict, NotFound, QuotaExceeded, Unavailable
from batchyard.domain.file import ID_PREFIX, INLINE, ExpiresAfter, File, FileId
from batchyard.service import checks
from batchyard.service.access import require
from batchyard.service.ids import Ids
from batchyard.service.incoming import Examiner, Incoming, made, receive, wanted
from batchyard.service.rules import FileRules, QuotaOf
from batchyard.store import Direction, Once, Page, Store

LIST_LIMIT = 10_000


class Content:
    """A file's bytes, to be read in any pieces. `file.bytes` is how many there are."""

    def __init__(self, file: File, blobs: Blobs) -> None:
        self.file = file
        self._blobs = blobs

    def read(self, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes, None]:
        """The bytes from `start` up to, not including, `end` (None: all the rest), in chunks. Close it when left."""
        stop = self.file.bytes if end is None else min(end, self.file.bytes)
        return self._blobs.read_range(self.file.blob, max(start, 0), stop)


class Receiving:
    """A file that a caller is sending. `keep` makes it one; left without that, nothing remains of it."""

    def __init__(self, files: "Files", caller: Caller, id: FileId, incoming: Incoming) -> None:
        self._files = files
        self._caller = caller
        self._id = id
        self._incoming = incoming

    async def write(self, data: bytes) -> None:
        """Take the next bytes. Raises TooLarge as soon as there are too many."""
        await self._incoming.write(data)

    async def fill(self, step: Callable[[Put], None]) -> None:
        """Take the next bytes from a step that blocks and puts them. Raises TooLarge as soon as there are too many."""
        await self._incoming.fill(step)

    async def keep(
        self,
        filename: str | None,
        purpose: str | None,
        expires_after: ExpiresAfter | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> File:
        """Make it a file, once all bytes were written.

        Raises Invalid where the parameters or the bytes will not do, QuotaExceeded where the project is full.
        """
        asked = wanted(filename, purpose, expires_after, self._files.rules)
        kept = await self._incoming.commit(asked.purpose)
        once = checks.once(idempotency_key, [asked, kept.sha256])
        file = made(self._id, self._caller.project, asked, kept, self._incoming.blob, self._files.now())
        return await self._files.add(file, once)


class Files:
    """What a caller may do with files."""

    def __init__(
        self,
        store: Store,
        blobs: Blobs,
        clock: Clock,
        ids: Ids,
        quota_of: QuotaOf,
        rules: FileRules | None = None,
        examiner: Examiner | None = None,
    ) -> None:
        self.rules = rules or FileRules()
        self._store = store
        self._blobs = blobs
        self._clock = clock
        self._ids = ids
        self._quota_of = quota_of
        self._examiner = examiner

    @asynccontextmanager
    async def receive(self, caller: Caller, *, size_bytes: int | None = None) -> AsyncGenerator[Receiving, None]:
        """Begin a file whose name and purpose may come after its bytes; `size_bytes` is what the caller announces.

        Raises QuotaExceeded at once where no such file could be kept.
        """
        require(caller, Action.EDIT_FILES)
        quota = self._quota_of(caller.project)
        await self._store.files.require_room(caller.project, quota, files=1, size=size_bytes or 0, at=self.now())
        id = self._ids.file()
        receiving = receive(self._blobs, f"files/{id}", quota.file_bytes, "file", examiner=self._examiner)
        async with receiving as incoming:
            yield Receiving(self, caller, id, incoming)

    async def upload(
        self,
        caller: Caller,
        filename: str,
        purpose: str,
        chunks: AsyncIterable[bytes],
        expires_after: ExpiresAfter | None = None,
    ) -> File:
        """Receive and keep a file whose name and purpose are known before."""
        async with self.receive(caller) as receiving:
            async for chunk in chunks:
                await receiving.write(chunk)
            return await receiving.keep(filename, purpose, expires_after)

    async def get(self, caller: Caller, id: str) -> File:
        """A file. Raises NotFound where there is none, or it is gone, or another project's."""
        require(caller, Action.VIEW_FILES)
        return await self._found(caller, id)

    async def named(self, caller: Caller, name: str) -> File:
        """The file that has a name of its own, or goes by what follows `file-` in its id; none is inline.

        Raises as `get` does.
        """
        require(caller, Action.VIEW_FILES)
        file = await self._store.files.by_name(caller.project, name, self.now())
        file = file or await self._found(caller, f"{ID_PREFIX}{name}")
        if file.purpose == INLINE:
            raise no_file(file.id)
        return file

    async def list(
        self,
        caller: Caller,
        *,
        after: str | None = None,
        limit: int | None = None,
        direction: Direction = Direction.DESC,
        purpose: str | None = None,
    ) -> Page[File]:
        """A page of the project's files, results too."""
        require(caller, Action.VIEW_FILES)
        cursor = checks.cursor(limit, LIST_LIMIT, LIST_LIMIT, after, direction)
        return checks.known(await self._store.files.list(caller.project, cursor, self.now(), purpose))

    async def delete(self, caller: Caller, id: str) -> File:
        """Delete a file; it is gone when this returns. A batch that reads it goes on undisturbed."""
        require(caller, Action.EDIT_FILES)
        file = await self._store.files.delete(caller.project, FileId(id), self.now())
        if file is None:
            raise no_file(id)
        return file

    async def content(self, caller: Caller, id: str) -> Content:
        """A file's bytes. Raises as `get` does, and Unavailable where they were lost."""
        file = await self.get(caller, id)
        try:
            found = await self._blobs.size(file.blob)
        except NotFound as error:
            await self._found(caller, id)  # deleted and swept between two looks: simply gone
            raise Unavailable(f"The bytes of {id} are lost.", remedy="Restore them from a backup.") from error
        if found != file.bytes:
            raise Unavailable(f"The bytes of {id} are damaged.", remedy="Restore them from a backup.")
        return Content(file, self._blobs)

    async def add(self, file: File, once: Once | None) -> File:
        """Give durable bytes their file. Bytes that certainly became none are removed."""
        try:
            added = await self._store.files.add(file, self._quota_of(file.project), once)
        except (Conflict, QuotaExceeded):
            await self._blobs.delete(file.blob)
            raise
        if added.id != file.id:
            await self._blobs.delete(file.blob)
        return added

    def now(self) -> int:
        return int(self._clock.now())

    async def _found(self, caller: Caller, id: str) -> File:
        file = await self._store.files.get(caller.project, FileId(id), self.now())
        if file is None:
            raise no_file(id)
        return file


def no_file(id: str) -> NotFound:
    return NotFound(f"No such File object: {id}", param="id")
