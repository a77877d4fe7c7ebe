"""Uploads: big files in parts, which may come in any order and more than once."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from weakref import WeakValueDictionary

from msgspec import Struct

from batchyard.blob import Blobs, Kept, Put
from batchyard.clock import Clock
from batchyard.domain.access import Action, Caller, ProjectId
from batchyard.domain.errors import BatchyardError, Conflict, Invalid, NotFound, QuotaExceeded, TooLarge
from batchyard.domain.file import BATCH, ExpiresAfter, File, FileId
from batchyard.domain.upload import Part, PartId, Upload, UploadId, UploadState
from batchyard.service import checks
from batchyard.service.access import require
from batchyard.service.ids import Ids
from batchyard.service.incoming import Examiner, Incoming, Wanted, made, receive, too_large, wanted
from batchyard.service.rules import FileRules, QuotaOf, UploadRules
from batchyard.store import Store


class CreateUpload(Struct, frozen=True, kw_only=True):
    """What a caller asks for. None: not given."""

    filename: str | None = None
    purpose: str | None = None
    bytes: int | None = None
    mime_type: str | None = None
    expires_after: ExpiresAfter | None = None


class ReceivingPart:
    """A part that a caller is sending. `keep` makes it one; left without that, nothing remains of it."""

    def __init__(self, uploads: "Uploads", upload: Upload, id: PartId, incoming: Incoming) -> None:
        self._uploads = uploads
        self._upload = upload
        self._id = id
        self._incoming = incoming

    async def write(self, data: bytes) -> None:
        """Take the next bytes. Raises TooLarge as soon as there are too many."""
        await self._incoming.write(data)

    async def fill(self, step: Callable[[Put], None]) -> None:
        """Take the next bytes from a step that blocks and puts them. Raises TooLarge as soon as there are too many."""
        await self._incoming.fill(step)

    async def keep(self) -> Part:
        """Make it a part. Raises Invalid where the upload has ended, TooLarge for too many parts, QuotaExceeded."""
        kept = await self._incoming.commit()
        return await self._uploads.add(self._upload, self._id, kept, self._incoming.blob)


class Uploads:
    """What a caller may do with uploads."""

    def __init__(
        self,
        store: Store,
        blobs: Blobs,
        clock: Clock,
        ids: Ids,
        quota_of: QuotaOf,
        rules: UploadRules | None = None,
        file_rules: FileRules | None = None,
        examiner: Examiner | None = None,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._clock = clock
        self._ids = ids
        self._quota_of = quota_of
        self._rules = rules or UploadRules()
        self._file_rules = file_rules or FileRules()
        self._examiner = examiner
        self._turns: WeakValueDictionary[UploadId, asyncio.Lock] = WeakValueDictionary()

    async def create(self, caller: Caller, asked: CreateUpload, *, idempotency_key: str | None = None) -> Upload:
        """Begin an upload. Raises Invalid, and TooLarge where no file may be so big."""
        require(caller, Action.EDIT_FILES)
        size_bytes = checks.in_range(checks.required(asked.bytes, "bytes"), 0, None, "bytes")
        file = wanted(asked.filename, asked.purpose, asked.expires_after, self._file_rules)
        mime_type = checks.required(asked.mime_type, "mime_type")
        self._require_size(size_bytes, self._quota_of(caller.project).file_bytes)
        at = self._now()
        upload = Upload(
            id=self._ids.upload(),
            project=caller.project,
            filename=file.filename,
            purpose=file.purpose,
            mime_type=mime_type,
            bytes=size_bytes,
            created_at=at,
            expires_at=at + self._rules.lifetime_seconds,
            file_expires_after_seconds=file.expires_after_seconds,
        )
        return await self._store.uploads.add(upload, checks.once(idempotency_key, asked))

    @asynccontextmanager
    async def receive_part(self, caller: Caller, id: str) -> AsyncGenerator["ReceivingPart"]:
        """Begin to add bytes to an upload; which ones, completing it says.

        Raises NotFound, and Invalid where the upload is not pending.
        """
        require(caller, Action.EDIT_FILES)
        upload = await self._pending(caller, id)
        part_id = self._ids.part()
        async with receive(self._blobs, f"parts/{part_id}", self._rules.part_bytes, "data") as incoming:
            yield ReceivingPart(self, upload, part_id, incoming)

    async def add_part(self, caller: Caller, id: str, chunks: AsyncIterable[bytes]) -> Part:
        """Receive and keep a part. Raises as `receive_part` and `ReceivingPart` do."""
        async with self.receive_part(caller, id) as receiving:
            async for chunk in chunks:
                await receiving.write(chunk)
            return await receiving.keep()

    async def complete(
        self, caller: Caller, id: str, part_ids: Sequence[str] | None, md5: str | None = None
    ) -> tuple[Upload, File | None]:
        """Make the file of the parts, in the given order; other parts are dropped.

        Completing again with the same parts returns the same file, or None where it was deleted since. Raises NotFound,
        and Invalid where the upload is cancelled or expired, a part is unknown or named twice, or bytes or `md5`
        (hexadecimal) do not agree.
        """
        require(caller, Action.EDIT_FILES)
        named = tuple(PartId(part) for part in checks.required(part_ids, "part_ids"))
        turn = self._turns.setdefault(UploadId(id), asyncio.Lock())
        async with turn:  # a repeated call waits for the first, which may be long, and returns what that made
            upload = await self._found(caller.project, id)
            if upload.state is not UploadState.COMPLETED:
                parts = await self._chosen(upload, named)
                upload = await self._assemble(caller, upload, parts, md5)
            return await self._completed(caller, upload, named)

    async def cancel(self, caller: Caller, id: str) -> Upload:
        """Give an upload up; its parts are dropped. Cancelling again changes nothing."""
        require(caller, Action.EDIT_FILES)
        cancelled = await self._store.uploads.cancel(caller.project, UploadId(id), self._now())
        upload = cancelled or await self._found(caller.project, id)
        if upload.state is not UploadState.CANCELLED:
            raise _not_pending(upload)
        return upload

    async def add(self, upload: Upload, id: PartId, kept: Kept, blob: str) -> Part:
        """Give durable bytes their part. Bytes that certainly became none are removed."""
        part = Part(id=id, upload_id=upload.id, bytes=kept.bytes, created_at=self._now(), blob=blob)
        quota, most = self._quota_of(upload.project), self._rules.max_parts
        try:
            added = await self._store.uploads.add_part(upload.project, part, quota, most, part.created_at)
        except (QuotaExceeded, TooLarge):
            await self._blobs.delete(part.blob)
            raise
        if not added:  # it ended while the part was on its way
            await self._blobs.delete(part.blob)
            raise _not_pending(await self._found(upload.project, upload.id))
        return part

    async def _chosen(self, upload: Upload, named: Sequence[PartId]) -> Sequence[Part]:
        """The named parts, in order, which must add up to the upload."""
        if upload.state is not UploadState.PENDING:
            raise _not_pending(upload)
        if len(set(named)) != len(named):
            raise Invalid("Invalid 'part_ids': a part is named twice.", param="part_ids", reason="invalid_value")
        parts = {part.id: part for part in await self._store.uploads.parts(upload.id)}
        for id in named:
            if id not in parts:
                raise Invalid(f"No such part in this upload: {id}", param="part_ids", reason="invalid_value")
        found = sum(parts[id].bytes for id in named)
        if found != upload.bytes:
            raise Invalid(
                f"The parts have {found} bytes, the upload was created with {upload.bytes}.",
                remedy="Send the missing parts, or name all of them.",
                param="bytes",
                reason="invalid_value",
            )
        return [parts[id] for id in named]

    async def _assemble(self, caller: Caller, upload: Upload, parts: Sequence[Part], md5: str | None) -> Upload:
        """Copy the parts into one file, and complete the upload with it."""
        at = self._now()
        file_id = self._ids.file()
        examiner = self._examiner if upload.purpose == BATCH else None
        async with receive(
            self._blobs, f"files/{file_id}", upload.bytes, "bytes", md5=md5 is not None, examiner=examiner
        ) as incoming:
            try:
                await self._pour(parts, incoming)
            except NotFound as error:  # it expired meanwhile, and its parts were swept away
                raise _not_pending(await self._found(caller.project, upload.id)) from error
            kept = await incoming.commit(upload.purpose)
            file = _file(upload, file_id, kept, incoming.blob, self._now())
            try:
                _require_md5(kept, md5)
                return await self._complete(caller, upload, parts, file, at)
            except (Conflict, Invalid, QuotaExceeded):
                await self._blobs.delete(file.blob)
                raise

    async def _complete(self, caller: Caller, upload: Upload, parts: Sequence[Part], file: File, at: int) -> Upload:
        ids = [part.id for part in parts]
        quota = self._quota_of(caller.project)
        completed = await self._store.uploads.complete(caller.project, upload.id, ids, file, quota, at)
        if completed is None:  # cancelled or expired meanwhile
            raise _not_pending(await self._found(caller.project, upload.id))
        return completed

    async def _completed(self, caller: Caller, upload: Upload, named: Sequence[PartId]) -> tuple[Upload, File | None]:
        if upload.part_ids != tuple(named):
            raise _not_pending(upload)
        assert upload.file_id is not None
        return upload, await self._store.files.get(caller.project, upload.file_id, self._now())

    async def _pour(self, parts: Sequence[Part], incoming: Incoming) -> None:
        for part in parts:
            async with aclosing(self._blobs.read_range(part.blob, 0, part.bytes)) as chunks:
                async for chunk in chunks:
                    await incoming.write(chunk)

    async def _pending(self, caller: Caller, id: str) -> Upload:
        upload = await self._found(caller.project, id)
        if upload.state is not UploadState.PENDING:
            raise _not_pending(upload)
        return upload

    async def _found(self, project: ProjectId, id: str) -> Upload:
        upload = await self._store.uploads.get(project, UploadId(id))
        if upload is None:
            raise NotFound(f"No such Upload object: {id}", param="upload_id")
        return upload.seen_at(self._now())

    def _require_size(self, size_bytes: int, limit_bytes: int) -> None:
        if size_bytes > limit_bytes:
            raise too_large(limit_bytes, "bytes")

    def _now(self) -> int:
        return int(self._clock.now())


def _file(upload: Upload, id: FileId, kept: Kept, blob: str, at: int) -> File:
    asked = Wanted(upload.filename, upload.purpose, upload.file_expires_after_seconds)
    return made(id, upload.project, asked, kept, blob, at)


def _require_md5(kept: Kept, md5: str | None) -> None:
    if md5 is not None and kept.md5 != md5.lower():
        raise Invalid(
            f"The bytes have the md5 {kept.md5}, not {md5[:64]}.",
            remedy="Send the parts again.",
            param="md5",
            reason="invalid_value",
        )


def _not_pending(upload: Upload) -> BatchyardError:
    return Invalid(
        f"The upload {upload.id} is {upload.state}: nothing can be added to it or changed.", reason="invalid_value"
    )
