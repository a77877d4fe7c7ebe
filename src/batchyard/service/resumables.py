"""Resumables: files that come over many calls, each going on where the bytes end that are safe.

Whoever begins one gets a secret, and later calls name it by that alone. The bytes go into one blob that grows, so a
large file is written once. How far it is safe stands in the store: a call that breaks off, or the server, costs at most
what came since.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from weakref import WeakValueDictionary

from msgspec import Struct

from batchyard.blob import Blobs, Grower, Kept, Pour, Put
from batchyard.clock import Clock
from batchyard.domain.access import Action, Caller, KeyId, ProjectId
from batchyard.domain.errors import BatchyardError, Conflict, Invalid, NotFound, TooLarge
from batchyard.domain.file import ID_PREFIX, USER_DATA, File, FileId
from batchyard.domain.resumable import Resumable, ResumableId
from batchyard.domain.upload import UploadState
from batchyard.service import checks
from batchyard.service.access import require
from batchyard.service.ids import Ids
from batchyard.service.incoming import too_large
from batchyard.service.rules import FileRules, QuotaOf, UploadRules
from batchyard.store import Store

SECURED_BYTES = 64 << 20
"""So much is made safe on the way, in a call that brings more."""
NAMELESS = "upload"
_MAX_DISPLAY_NAME = 512
_MAX_FILENAME = 1_000
_name = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?").fullmatch
_result = re.compile(r"batch-[0-9a-f]{32}").fullmatch
"""Names of results: nobody may be there before them."""
_mime_type = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?").fullmatch


class CreateResumable(Struct, frozen=True, kw_only=True):
    """What a caller asks for. None: not given. `bytes` is how many will come; for the others see `File`."""

    filename: str | None = None
    name: str | None = None
    display_name: str | None = None
    mime_type: str | None = None
    bytes: int | None = None


class Received(Struct, frozen=True):
    """How many bytes are safe, and the file that they are, once they are all."""

    bytes: int
    file: File | None = None


class _Turn:
    """Who is at work on a resumable. The newest call counts: who calls again has given the call before up."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.newest = 0
        self.pouring: asyncio.Task[None] | None = None


class _Growth:
    """A resumable under way: `noted` is what the store knows of its bytes."""

    def __init__(self, resumable: Resumable, writer: Grower, limit_bytes: int) -> None:
        self.resumable = resumable
        self.writer = writer
        self.limit_bytes = limit_bytes
        self.noted = resumable.received
        self.bytes = writer.written


class _Taking:
    """Takes what one call brings, from its offset on: what is there already is passed over."""

    def __init__(self, growth: _Growth, offset: int, note: "Callable[[_Growth], Awaitable[Received]]") -> None:
        self._growth = growth
        self._there = growth.writer.written - offset
        self._note = note

    async def write(self, data: bytes) -> None:
        await self._growth.writer.write(self._fresh(data))
        await self._note_what_is_much()

    async def fill(self, step: Callable[[Put], None]) -> None:
        await self._growth.writer.fill(lambda put: step(lambda data: put(self._fresh(data))))
        await self._note_what_is_much()

    def _fresh(self, data: bytes) -> bytes:
        """What of some bytes is new. Raises TooLarge or Invalid where that is too much."""
        growth = self._growth
        known = min(self._there, len(data))
        self._there -= known
        fresh = data[known:] if known else data
        if growth.bytes + len(fresh) > growth.limit_bytes:
            raise _too_many(growth)
        growth.bytes += len(fresh)
        return fresh

    async def _note_what_is_much(self) -> None:
        if self._growth.bytes - self._growth.noted >= SECURED_BYTES:
            await self._note(self._growth)


class _Nowhere:
    """Takes what nobody needs."""

    async def write(self, data: bytes) -> None:
        return None

    async def fill(self, step: Callable[[Put], None]) -> None:
        await asyncio.to_thread(step, lambda _: None)


class Resumables:
    """What a caller may do with resumables."""

    def __init__(
        self,
        store: Store,
        blobs: Blobs,
        clock: Clock,
        ids: Ids,
        quota_of: QuotaOf,
        rules: UploadRules | None = None,
        file_rules: FileRules | None = None,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._clock = clock
        self._ids = ids
        self._quota_of = quota_of
        self._rules = rules or UploadRules()
        self._file_rules = file_rules or FileRules()
        self._turns: WeakValueDictionary[ResumableId, _Turn] = WeakValueDictionary()

    async def create(self, caller: Caller, asked: CreateResumable) -> tuple[Resumable, str]:
        """Begin one; it comes with its secret, which is never shown again.

        Raises Invalid, Conflict where the name is taken, TooLarge, QuotaExceeded where no such file could be kept now.
        """
        require(caller, Action.EDIT_FILES)
        checked, at = _checked(asked), self._now()
        quota = self._quota_of(caller.project)
        if checked.bytes is not None and checked.bytes > quota.file_bytes:
            raise too_large(quota.file_bytes, "size_bytes")
        await self._store.files.require_room(caller.project, quota, files=1, size=checked.bytes or 0, at=at)
        if checked.name is not None:
            await self._require_free(caller.project, checked.name)
        id, file_id, secret = self._ids.resumable(), self._ids.file(), self._ids.resumable_secret()
        resumable = Resumable(
            id=id,
            project=caller.project,
            key_id=caller.key_id,
            secret_hash=_hash(secret),
            file_id=file_id,
            blob=f"files/{file_id}",
            filename=checked.filename or checked.display_name or checked.name or NAMELESS,
            purpose=USER_DATA,
            name=checked.name,
            display_name=checked.display_name,
            mime_type=checked.mime_type,
            bytes=checked.bytes,
            created_at=at,
            expires_at=at + self._rules.lifetime_seconds,
            file_expires_after_seconds=self._file_rules.gemini_expiry_seconds,
        )
        await self._store.resumables.add(resumable)
        return resumable, secret

    async def beginner(self, secret: str) -> tuple[ProjectId, KeyId | None]:
        """Who began the resumable of a secret. Raises NotFound."""
        found = await self._store.resumables.by_secret(_hash(secret))
        if found is None:
            raise _unknown()
        return found.project, found.key_id

    async def get(self, caller: Caller, secret: str) -> Received:
        """How far it is. Raises NotFound, and Invalid where it was cancelled or has expired."""
        require(caller, Action.EDIT_FILES)
        return await self._received(await self._alive(caller, secret))

    async def receive(
        self,
        caller: Caller,
        secret: str,
        offset: int,
        pour: Pour,
        *,
        last: bool,
        announced_bytes: int | None = None,
    ) -> Received:
        """Take bytes from an offset on, of which some may be there already; with the `last` of them it becomes a file.

        An older call that still receives for the same resumable ends; what it brought stays. Asked again after it has
        become a file, it returns that. Raises NotFound, Invalid where it was cancelled or has expired, the offset is
        beyond what is there, or the bytes are not as many as announced; TooLarge, QuotaExceeded, Conflict where the
        name was taken meanwhile or a newer call goes on.
        """
        require(caller, Action.EDIT_FILES)
        found = await self._alive(caller, secret)
        async with self._turn(found.id) as (turn, number):
            resumable = await self._alive(caller, secret)
            if resumable.state is UploadState.COMPLETED:
                await pour(_Nowhere())  # an answer that was lost: who sends hears it only after all was sent
                return await self._received(resumable)
            await self._require_room(resumable, offset, announced_bytes or 0)
            writer = await self._blobs.grow(resumable.blob, resumable.received)
            try:
                limit = self._quota_of(resumable.project).file_bytes if resumable.bytes is None else resumable.bytes
                growth = _Growth(resumable, writer, limit)
                await self._grow(growth, offset, pour, turn, number)
                return await (self._finish(growth) if last else self._note(growth))
            finally:
                await writer.leave()

    async def cancel(self, caller: Caller, secret: str) -> None:
        """Give one up; its bytes are dropped. Cancelling again changes nothing. Raises NotFound, Invalid."""
        require(caller, Action.EDIT_FILES)
        found = await self._found(caller, secret)
        if await self._store.resumables.cancel(caller.project, found.id, self._now()) is None:
            found = await self._found(caller, secret)
            if found.state is not UploadState.CANCELLED:
                raise _ended(found)

    @asynccontextmanager
    async def _turn(self, id: ResumableId) -> AsyncGenerator[tuple[_Turn, int]]:
        """One call at a time; an older one that receives, and may do so for ever, is told to end."""
        turn = self._turns.setdefault(id, _Turn())
        turn.newest += 1
        number = turn.newest
        if turn.pouring is not None:
            turn.pouring.cancel()
        async with turn.lock:
            yield turn, number

    async def _grow(self, growth: _Growth, offset: int, pour: Pour, turn: _Turn, number: int) -> None:
        """Write what comes; what came stays, however it ends."""
        if offset > growth.writer.written:
            raise Invalid(
                f"The offset is {offset}, but only {growth.writer.written} bytes were received.",
                remedy="Ask how many were (command: query), and go on there.",
                param="X-Goog-Upload-Offset",
                reason="invalid_value",
            )
        if number != turn.newest:
            raise _superseded()
        taking = _Taking(growth, offset, self._note)
        pouring = asyncio.get_running_loop().create_task(_poured(pour, taking))
        turn.pouring = pouring
        try:
            await _ended_task(pouring)
        except BaseException:
            with suppress(BatchyardError):
                await self._note(growth)
            raise
        finally:
            turn.pouring = None

    async def _note(self, growth: _Growth) -> Received:
        """Make what has come safe, and note it."""
        resumable, safe = growth.resumable, await growth.writer.secure()
        if safe != growth.noted:
            quota = self._quota_of(resumable.project)
            noted = await self._store.resumables.grow(
                resumable.project, resumable.id, growth.noted, safe, quota, self._now()
            )
            if not noted:  # cancelled or expired meanwhile
                raise await self._gone(resumable)
            growth.noted = safe
        return Received(safe)

    async def _finish(self, growth: _Growth) -> Received:
        """Make it a file."""
        resumable = growth.resumable
        if resumable.bytes is not None and growth.bytes != resumable.bytes:
            await self._note(growth)
            raise Invalid(
                f"{resumable.bytes} bytes were announced, but there are {growth.bytes}.",
                remedy="Send the others before the last command.",
                reason="invalid_value",
            )
        kept = await growth.writer.commit()
        quota, at = self._quota_of(resumable.project), self._now()
        file = _file(resumable, kept, at)
        if not await self._store.resumables.complete(resumable.project, resumable.id, file, quota, at):
            await self._blobs.delete(resumable.blob)
            raise await self._gone(resumable)
        return Received(kept.bytes, file)

    async def _received(self, resumable: Resumable) -> Received:
        if resumable.state is not UploadState.COMPLETED:
            return Received(resumable.received)
        file = await self._store.files.get(resumable.project, resumable.file_id, self._now())
        if file is None:
            raise NotFound("The file of this upload was deleted, or has expired.")
        return Received(file.bytes, file)

    async def _require_room(self, resumable: Resumable, offset: int, announced_bytes: int) -> None:
        """Refuse at once what could not be kept."""
        size = max(offset + announced_bytes - resumable.received, 0)
        quota = self._quota_of(resumable.project)
        await self._store.files.require_room(resumable.project, quota, files=0, size=size, at=self._now())

    async def _require_free(self, project: ProjectId, name: str) -> None:
        at = self._now()
        files = self._store.files
        if await files.by_name(project, name, at) or await files.get(project, FileId(f"{ID_PREFIX}{name}"), at):
            raise Conflict(
                f"There is a file with the name '{name}' already.",
                remedy="Choose another name, or delete that file.",
                param="name",
                reason="name_taken",
            )

    async def _alive(self, caller: Caller, secret: str) -> Resumable:
        """One that is pending or has become a file."""
        found = await self._found(caller, secret)
        if found.state not in (UploadState.PENDING, UploadState.COMPLETED):
            raise _ended(found)
        return found

    async def _found(self, caller: Caller, secret: str) -> Resumable:
        found = await self._store.resumables.by_secret(_hash(secret))
        if found is None or found.project != caller.project:
            raise _unknown()
        return found.seen_at(self._now())

    async def _gone(self, resumable: Resumable) -> BatchyardError:
        found = await self._store.resumables.by_secret(resumable.secret_hash)
        return _unknown() if found is None else _ended(found.seen_at(self._now()))

    def _now(self) -> int:
        return int(self._clock.now())


async def _poured(pour: Pour, taking: _Taking) -> None:
    await pour(taking)


async def _ended_task(task: asyncio.Task[None]) -> None:
    """Wait for a task, which ends with its caller. Raises what it raised, and Conflict where somebody cancelled it."""
    try:
        await asyncio.wait({task})
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
    if task.cancelled():
        raise _superseded()
    task.result()


def _checked(asked: CreateResumable) -> CreateResumable:
    """What a caller asks for. Raises Invalid."""
    if asked.name is not None:
        _require_name(asked.name)
    for text, most, param in (
        (asked.display_name, _MAX_DISPLAY_NAME, "display_name"),
        (asked.filename, _MAX_FILENAME, "X-Goog-Upload-File-Name"),
    ):
        if text is not None and len(text) > most:
            raise Invalid(
                f"Invalid '{param}': expected at most {most} characters.", param=param, reason="string_above_max_length"
            )
    if asked.mime_type is not None and not _mime_type(asked.mime_type):
        raise Invalid(
            "Invalid 'mime_type': expected at most 255 printable characters of ASCII.",
            param="mime_type",
            reason="invalid_value",
        )
    if asked.bytes is not None:
        checks.in_range(asked.bytes, 0, None, "size_bytes")
    return asked


def _require_name(name: str) -> None:
    if not _name(name):
        raise Invalid(
            f"Invalid 'name': '{name[:100]}'.",
            remedy="Give 1 to 40 of a-z, 0-9 and dashes, with no dash at either end.",
            param="name",
            reason="invalid_value",
        )
    if _result(name):
        raise Invalid(
            f"Invalid 'name': names such as '{name}' are for the results of batches.",
            remedy="Choose another name.",
            param="name",
            reason="invalid_value",
        )


def _file(resumable: Resumable, kept: Kept, at: int) -> File:
    seconds = resumable.file_expires_after_seconds
    return File(
        id=resumable.file_id,
        project=resumable.project,
        filename=resumable.filename,
        purpose=resumable.purpose,
        bytes=kept.bytes,
        created_at=at,
        expires_at=None if seconds is None else at + seconds,
        sha256=kept.sha256,
        blob=resumable.blob,
        name=resumable.name,
        display_name=resumable.display_name,
        mime_type=resumable.mime_type,
    )


def _hash(secret: str) -> bytes:
    return sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _too_many(growth: _Growth) -> Invalid | TooLarge:
    announced = growth.resumable.bytes
    if announced is None:
        return too_large(growth.limit_bytes, "body")
    return Invalid(f"{announced} bytes were announced, but more came.", remedy="Begin again with the right size.")


def _superseded() -> Conflict:
    return Conflict("A newer call goes on with this upload.", remedy="Leave it to that one.")


def _unknown() -> NotFound:
    return NotFound("There is no such upload, or no longer.", remedy="Begin a new one.", param="upload_id")


def _ended(resumable: Resumable) -> Invalid:
    return Invalid(f"This upload is {resumable.state}.", remedy="Begin a new one.", param="upload_id")
