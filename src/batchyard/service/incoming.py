"""Bytes on their way to becoming a file: counted, hashed and looked at in the one pass in which they are stored."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Protocol

from msgspec import Struct

from batchyard.blob import Blobs, Kept, Put, Writer
from batchyard.domain.access import ProjectId
from batchyard.domain.errors import Invalid, TooLarge
from batchyard.domain.file import BATCH, ExpiresAfter, File, FileId
from batchyard.service import checks
from batchyard.service.jsonl import FirstLine, require_jsonl_name
from batchyard.service.rules import FileRules

_MAX_FILENAME = 1_000


class Examination(Protocol):
    """A look at what is being received, taken elsewhere, so that a batch of it can begin sooner."""

    def grown(self, readable: int) -> None:
        """So many bytes can be read by now."""
        ...

    def whole(self, size: int) -> None:
        """These are all bytes, and they are kept."""
        ...

    def give_up(self) -> None:
        """They are no batch input, or will not be kept."""
        ...


class Examiner(Protocol):
    """Takes such looks."""

    @property
    def smallest_bytes(self) -> int:
        """What is smaller is not worth a look."""
        ...

    def begin(self, blob: str, place: str, first_line: bytes) -> Examination | None:
        """Look at a blob that grows at a place; None where nothing would come of it."""
        ...


class Wanted(Struct, frozen=True):
    """What a caller wants a file to be; checked."""

    filename: str
    purpose: str
    expires_after_seconds: int | None


def wanted(filename: str | None, purpose: str | None, expires_after: ExpiresAfter | None, rules: FileRules) -> Wanted:
    """Check what a caller wants a file to be. Raises Invalid."""
    purpose = checks.one_of(checks.required(purpose, "purpose"), rules.purposes, "purpose")
    filename = checks.required(filename, "filename")
    if len(filename) > _MAX_FILENAME:
        raise Invalid(
            f"Invalid 'filename': expected at most {_MAX_FILENAME} characters.",
            param="filename",
            reason="string_above_max_length",
        )
    if purpose == BATCH and rules.require_jsonl_name:
        require_jsonl_name(filename)
    seconds = checks.expiry_seconds(expires_after, "expires_after")
    if seconds is None and purpose == BATCH:
        seconds = rules.default_expiry_seconds
    return Wanted(filename, purpose, seconds)


class Incoming:
    """One file or part that is being received. Nobody sees it before it is committed and named in the store."""

    def __init__(
        self, writer: Writer, blob: str, limit_bytes: int, param: str, examiner: Examiner | None = None
    ) -> None:
        self.blob = blob
        self.bytes = 0
        self._writer = writer
        self._limit = limit_bytes
        self._param = param
        self._first = FirstLine()
        self._examiner = examiner
        self._examination: Examination | None = None

    async def write(self, data: bytes) -> None:
        """Take the next bytes. Raises TooLarge as soon as there are too many."""
        self._see(data)
        await self._writer.write(data)
        self._examine()

    async def fill(self, step: Callable[[Put], None]) -> None:
        """Take the next bytes from a step that blocks. Raises TooLarge as soon as there are too many."""
        await self._writer.fill(partial(self._fill, step))
        self._examine()

    def _fill(self, step: Callable[[Put], None], put: Put) -> None:
        def see_and_put(data: bytes) -> None:
            self._see(data)
            put(data)

        step(see_and_put)

    def _see(self, data: bytes) -> None:
        self.bytes += len(data)
        if self.bytes > self._limit:
            raise too_large(self._limit, self._param)
        self._first.feed(data)

    async def commit(self, purpose: str | None = None) -> Kept:
        """Make the bytes durable. Raises Invalid where the purpose is a batch and they cannot be its input."""
        if purpose == BATCH:
            self._first.require_json()
        else:
            self.give_up()
        kept = await self._writer.commit()
        if self._examination is not None:
            self._examination.whole(kept.bytes)
            self._examination = None
        return kept

    def give_up(self) -> None:
        """What was received is not, or not yet, durable, or no batch's: nobody need look at it."""
        examination, self._examination, self._examiner = self._examination, None, None
        if examination is not None:
            examination.give_up()

    def _examine(self) -> None:
        """Have the bytes looked at as they come, though their purpose may not be known yet."""
        if self._examination is not None:
            self._examination.grown(self._writer.written)
        elif self._examiner is not None and self.bytes >= self._examiner.smallest_bytes:
            examiner, self._examiner = self._examiner, None
            if self._writer.place is not None and (line := self._first.line) is not None:
                self._examination = examiner.begin(self.blob, self._writer.place, line)


def too_large(limit_bytes: int, param: str) -> TooLarge:
    return TooLarge(
        f"This is too large: at most {limit_bytes} bytes are accepted.",
        remedy="Split it.",
        param=param,
        reason="file_too_large",
    )


@asynccontextmanager
async def receive(
    blobs: Blobs, blob: str, limit_bytes: int, param: str, *, md5: bool = False, examiner: Examiner | None = None
) -> AsyncGenerator[Incoming, None]:
    """Receive the bytes of a file or part; whatever was not committed is removed at the end."""
    writer = await blobs.create(blob, md5=md5)
    incoming = Incoming(writer, blob, limit_bytes, param, examiner)
    try:
        yield incoming
    finally:
        incoming.give_up()
        await writer.abort()


def made(id: FileId, project: ProjectId, asked: Wanted, kept: Kept, blob: str, at: int) -> File:
    """The file that durable bytes become."""
    seconds = asked.expires_after_seconds
    return File(
        id=id,
        project=project,
        filename=asked.filename,
        purpose=asked.purpose,
        bytes=kept.bytes,
        created_at=at,
        expires_at=None if seconds is None else at + seconds,
        sha256=kept.sha256,
        blob=blob,
    )
