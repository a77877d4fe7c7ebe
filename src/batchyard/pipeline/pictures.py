"""Pictures and files that requests name, as bytes: fetched or read, looked at, and kept for a while.

What many requests of a project name is fetched once for all of them; so is a failure, for a moment, lest each of a
thousand lines wait for the same dead server. Nothing is shared between projects: what one has fetched, how quickly an
answer comes must not tell another.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NoReturn, TypeAlias
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct, structs

from batchyard.config import ImageSettings
from batchyard.domain.access import ProjectId
from batchyard.domain.attachment import Attachment
from batchyard.domain.errors import BatchyardError
from batchyard.domain.file import File, FileId
from batchyard.domain.picture import TAKEN, picture_of, sniffed
from batchyard.domain.result import Answer, Failure, Fault, Reply
from batchyard.pipeline.parts import Shown, is_picture, type_of
from batchyard.policy.retry import is_temporary
from batchyard.transport.http1 import Address, BadAnswer, ConnectFailed, HttpError, Received, TooLarge
from batchyard.transport.outside import NotOutside, Outside, Unresolved

KEPT_SECONDS = 600.0
"""How long a fetched picture is taken for what its URL leads to."""
FAILED_SECONDS = 2.0
"""How long nobody asks again where a fetch failed."""
ENTRY_BYTES = 256
"""What keeping anything costs beside its bytes."""
MOST_SHOWN = 200
HEADERS = {"user-agent": "batchyard", "accept": ", ".join((*TAKEN, "image/*;q=0.5"))}
WANTED = "Send PNG, JPEG, WebP or GIF."

Key: TypeAlias = tuple[ProjectId | None, str]


class CannotShow(Exception):
    """A request cannot be sent as what it names cannot be shown; carries the reply that says so."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply)
        self.reply = reply


def refuse(code: str, message: str, param: str, remedy: str = "", *, status: int = 400) -> NoReturn:
    """The request is at fault: an answer as OpenAI gives it."""
    error: dict[str, Any] = {
        "message": f"{message} {remedy}".strip(),
        "type": "invalid_request_error",
        "param": param,
        "code": code,
    }
    raise CannotShow(Answer(status, msgspec.json.encode({"error": error})))


class Flaw(Struct, frozen=True):
    """What is wrong with a picture."""

    code: str
    message: str
    remedy: str


Found: TypeAlias = Shown | Flaw | Failure
"""What became of looking for a picture."""


class Shelf(Struct, frozen=True):
    """Files of projects. `named` finds one by the name that a dialect's references have, `of_id` by its id."""

    named: Callable[[ProjectId, str], Awaitable[File | None]]
    of_id: Callable[[ProjectId, FileId], Awaitable[File | None]]
    read: Callable[[File], Awaitable[bytes]]


class Pictures:
    """See the module. Without a `shelf` there are no files. `now` is in seconds, from any beginning."""

    def __init__(
        self, settings: ImageSettings, outside: Outside, shelf: Shelf | None = None, *, now: Callable[[], float]
    ) -> None:
        self._settings = settings
        self._outside = outside
        self._shelf = shelf
        self._kept = _Kept(settings.cache_bytes, now)
        self._turns = _Turns()

    async def fetched(self, project: ProjectId | None, url: str, param: str) -> Shown:
        """The picture that a URL leads to. Raises CannotShow."""
        key = (project, url)
        async with self._turns.of(key):
            found = self._kept.get(key)
            if found is None:
                found = await self._fetch(url)
                self._kept.put(key, found)
        if isinstance(found, Shown):
            return found
        if isinstance(found, Failure):
            raise CannotShow(found)
        refuse(found.code, found.message, param, found.remedy)

    async def file(self, project: ProjectId | None, named: Attachment | FileId, param: str) -> Shown | None:
        """A file of the project's; None where it has none such. Raises CannotShow."""
        file = await self._find(project, named)
        if file is None:
            return None
        if file.bytes > self._settings.most_bytes:
            refuse("image_file_too_large", f"The file '{file.id}' has {file.bytes} bytes.", param, self._most())
        data = await self._read(project, file)
        declared = named.mime_type if isinstance(named, Attachment) else None
        mime_type = type_of(data, declared or file.mime_type, file.filename)
        if mime_type is None or not data:
            refuse("unsupported_file_type", f"The file '{file.id}' is nothing that can be shown.", param, WANTED)
        if is_picture(mime_type):
            flaw = self.flaw(data, f"The file '{file.id}'")
            if flaw is not None:
                refuse(flaw.code, flaw.message, param, flaw.remedy)
        return Shown(data, mime_type, file.filename)

    def flaw(self, data: bytes, what: str) -> Flaw | None:
        """Why some bytes are not shown to a model; None where they are a picture that may be."""
        if not data:
            return Flaw("empty_image_file", f"{what} is empty.", WANTED)
        kind = sniffed(data)
        if kind not in TAKEN:
            return Flaw("invalid_image_format", f"{what} is {kind or 'no picture that is known'}.", WANTED)
        picture = picture_of(data)
        if picture is None:
            return Flaw("image_parse_error", f"{what} begins as {kind}, but its header is broken.", "Make it anew.")
        if picture.pixels > self._settings.most_pixels:
            size = f"{picture.width} by {picture.height} pixels"
            most = f"At most {self._settings.most_pixels} are taken: make it smaller."
            return Flaw("image_too_large", f"{what} has {size}.", most)
        return None

    # URLs

    async def _fetch(self, url: str) -> Found:
        try:
            Address.parse(url)
        except ValueError:
            message = "A picture's URL is no http(s) URL, or has a password in it."
            return Flaw("invalid_image_url", message, "Upload the picture, or send its bytes.")
        what = f"The picture {shown(url)}"
        try:
            received = await self._outside.get(url, HEADERS, most_bytes=self._settings.most_bytes)
        except TimeoutError:
            return _lost(f"{what} did not come within {self._settings.timeout_seconds:g} s.")
        except Unresolved as error:
            return _lost(f"{what} cannot be fetched: {error}")
        except NotOutside as error:
            return Flaw("invalid_image_url", f"{what} cannot be fetched: {error}", "Upload it, or send its bytes.")
        except HttpError as error:
            return self._unfetched(what, error)
        return self._judged(what, received)

    def _unfetched(self, what: str, error: HttpError) -> Flaw | Failure:
        match error:
            case TooLarge():
                return Flaw("image_file_too_large", f"{what} is too large.", self._most())
            case BadAnswer() | ConnectFailed(certificate=True):
                return Flaw("failed_to_download_image", f"{what} cannot be fetched: {error}", "")
            case _:
                return _lost(f"{what} cannot be fetched: {error}")

    def _judged(self, what: str, received: Received) -> Found:
        if received.status != 200:
            message = f"{what} cannot be fetched: its server answers with status {received.status}."
            if is_temporary(received.status):
                return _lost(message)
            return Flaw("failed_to_download_image", message, "")
        flaw = self.flaw(received.body, what)
        return flaw or Shown(received.body, sniffed(received.body) or "")

    # Files

    async def _find(self, project: ProjectId | None, named: Attachment | FileId) -> File | None:
        if self._shelf is None or project is None:
            return None
        try:
            if isinstance(named, Attachment):
                return await self._shelf.named(project, named.name)
            return await self._shelf.of_id(project, named)
        except BatchyardError as error:
            raise CannotShow(_lost(f"A file cannot be looked up: {error.message}")) from error

    async def _read(self, project: ProjectId | None, file: File) -> bytes:
        """A file's bytes, which never change while it is there."""
        key = (project, file.id)
        async with self._turns.of(key):
            kept = self._kept.get(key)
            if isinstance(kept, Shown):
                return kept.data
            assert self._shelf is not None
            try:
                data = await self._shelf.read(file)
            except BatchyardError as error:
                raise CannotShow(_lost(f"The file '{file.id}' cannot be read: {error.message}")) from error
            self._kept.put(key, Shown(data, ""))
            return data

    def _most(self) -> str:
        return f"At most {self._settings.most_bytes} bytes are taken: make it smaller."


def shown(url: str) -> str:
    """A URL as it may be told to anybody: without a password and without its query, which often is one."""
    parts = urlsplit(url)
    text = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


def _lost(message: str) -> Failure:
    return Failure("failed_to_download_image", message, Fault.LOST)


class _Kept:
    """What was found, by whom and under which name; what was used last stays longest."""

    def __init__(self, most_bytes: int, now: Callable[[], float]) -> None:
        self._most_bytes = most_bytes
        self._now = now
        self._bytes = 0
        self._entries: OrderedDict[Key, tuple[Found, float]] = OrderedDict()

    def get(self, key: Key) -> Found | None:
        """What is known under a key; of a failure, when to ask again."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        found, until = entry
        left = until - self._now()
        if left <= 0:
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return structs.replace(found, retry_after_seconds=left) if isinstance(found, Failure) else found

    def put(self, key: Key, found: Found) -> None:
        """Keep what was found, where there is room for it at all."""
        size = _size(key, found)
        if size > self._most_bytes:
            return
        self._entries[key] = found, self._now() + (KEPT_SECONDS if isinstance(found, Shown) else FAILED_SECONDS)
        self._bytes += size
        while self._bytes > self._most_bytes:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: Key) -> None:
        found, _ = self._entries.pop(key)
        self._bytes -= _size(key, found)


def _size(key: Key, found: Found) -> int:
    return ENTRY_BYTES + len(key[1]) + (len(found.data) if isinstance(found, Shown) else 0)


class _Turns:
    """One at a time for each key."""

    def __init__(self) -> None:
        self._locks: dict[Key, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def of(self, key: Key) -> AsyncGenerator[None]:
        lock, waiting = self._locks.get(key) or (asyncio.Lock(), 0)
        self._locks[key] = lock, waiting + 1
        try:
            async with lock:
                yield
        finally:
            _, waiting = self._locks.pop(key)
            if waiting > 1:
                self._locks[key] = lock, waiting - 1
