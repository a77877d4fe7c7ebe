"""Requests are made self-contained at the last moment: what they only name, pictures behind URLs and uploaded files,
is put into them before an engine gets them.

That happens where a request is sent, not where it is read: a plan of millions of lines never holds a picture, and of
bodies that have grown so only a bounded number of bytes is under way. A body without parts that could name anything
passes as it is, for the price of a few substring searches.
"""

import asyncio
import binascii
import re
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import NoReturn

import msgspec
from msgspec import Raw, Struct, structs

from batchyard.config import Images
from batchyard.domain.access import ProjectId
from batchyard.domain.attachment import Attachment
from batchyard.domain.file import FileId
from batchyard.domain.picture import sniffed
from batchyard.domain.request import Request
from batchyard.domain.result import Reply
from batchyard.engine import Abilities, Engine, Say, stream
from batchyard.pipeline.parts import Named, Shown, message_keys, named_parts, part_of, picture_part
from batchyard.pipeline.pictures import WANTED, CannotShow, Pictures, refuse

ROOM_BYTES = 128 << 20
"""Bodies that have grown, on their way to one engine."""
AT_ONCE, AT_ONCE_OF_A_PROJECT = 32, 16
"""Requests that are being made self-contained for one engine; only then their size is known. One project's slow web
servers must not hold up the others."""
REQUEST_BYTES = 50_000_000
"""What is put into one request: as much as OpenAI takes."""

_decode = msgspec.json.Decoder(dict[str, Raw]).decode
_BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_ASCII_ESCAPED = re.compile(rb"\\u00[2-7]")
_REMOTE = re.compile(r"https?:", re.IGNORECASE)
_BREAKS = str.maketrans("", "", "\t\r\n")
_BLANKS = "".join(map(chr, range(0x21)))
_TO_STANDARD = str.maketrans("-_", "+/", " \r\n\t")


class Manner(Struct, frozen=True, kw_only=True):
    """What an engine is sent.

    `remote` says what becomes of pictures behind URLs. A `strict` engine is one in the package: pictures that a request
    carries are looked at as well, and it has no files of its own that a request could mean.
    """

    remote: Images = Images.FETCH
    strict: bool = False


class Inlining:
    """An engine that gets requests with all that they name put into them.

    `abilities` are those of an engine that has started; else `start` finds them out.
    """

    def __init__(self, engine: Engine, pictures: Pictures, manner: Manner, abilities: Abilities | None = None) -> None:
        self._engine = engine
        self._pictures = pictures
        self._manner = manner
        self._blind = abilities is not None and not abilities.sees_images
        self._room = Room(ROOM_BYTES)
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self._at_once_of: dict[ProjectId | None, asyncio.Semaphore] = {}

    @property
    def restarts(self) -> int:
        return self._engine.restarts

    async def start(self) -> Abilities:
        abilities = await self._engine.start()
        self._blind = not abilities.sees_images
        return abilities

    async def infer(self, request: Request) -> Reply:
        if not _may_show(request.body):
            return await self._engine.infer(request)
        async with self._whole(request) as whole:
            return await self._engine.infer(whole) if isinstance(whole, Request) else whole

    async def stream(self, request: Request, say: Say) -> Reply:
        if not _may_show(request.body):
            return await stream(self._engine, request, say)
        async with self._whole(request) as whole:
            return await stream(self._engine, whole, say) if isinstance(whole, Request) else whole

    async def close(self) -> None:
        await self._engine.close()

    def _turn_of(self, project: ProjectId | None) -> asyncio.Semaphore:
        return self._at_once_of.setdefault(project, asyncio.Semaphore(AT_ONCE_OF_A_PROJECT))

    @asynccontextmanager
    async def _whole(self, request: Request) -> AsyncGenerator[Request | Reply]:
        """The request with everything in it, or why there is none; its room is kept while it is in use."""
        try:
            async with self._turn_of(request.project), self._at_once:
                whole = await _Filling(self._pictures, self._manner, request, blind=self._blind).run()
                grown = len(whole.body) - len(request.body)
                if grown > 0:
                    await self._room.take(grown)
        except CannotShow as error:
            yield error.reply
            return
        try:
            yield whole
        finally:
            if grown > 0:
                self._room.give(grown)


class _Filling:
    """One request on its way to being self-contained."""

    def __init__(self, pictures: Pictures, manner: Manner, request: Request, *, blind: bool) -> None:
        self._pictures = pictures
        self._manner = manner
        self._request = request
        self._blind = blind and manner.strict
        self._bytes = 0
        self._changed = False

    async def run(self) -> Request:
        """Raises CannotShow."""
        fields, read = _read(self._request.body)
        for key, value in read.items():
            for named in named_parts(key, value):
                await self._fill(named)
        if not self._changed:
            return self._request
        body = msgspec.json.encode({**fields, **read})
        return structs.replace(self._request, body=body)

    async def _fill(self, named: Named) -> None:
        if named.file is not None:
            await self._put_file(named, named.file)
        elif named.id is not None:
            await self._put_own(named, FileId(named.id))
        elif named.url is not None and (url := _remote(named.url)) is not None:
            await self._put_remote(named, url)
        elif named.url is not None and self._manner.strict and not self._blind:
            self._look_at(named, named.url)

    async def _put_file(self, named: Named, file: Attachment) -> None:
        """A file that a dialect refers to."""
        shown = await self._pictures.file(self._request.project, file, named.param)
        if shown is None:
            _no_file(file.name, named)
        self._put(named, shown)

    async def _put_own(self, named: Named, id: FileId) -> None:
        """A file by its id: of this project, or else of the engine's own."""
        shown = await self._pictures.file(self._request.project, id, named.param)
        if shown is not None:
            self._put(named, shown)
        elif self._manner.strict:
            _no_file(id, named)

    async def _put_remote(self, named: Named, url: str) -> None:
        if self._blind or self._manner.remote is Images.PASS:
            return  # the engine says what it thinks of it
        if self._manner.remote is Images.REFUSE:
            refuse("invalid_image_url", "Pictures are not fetched here.", named.param, "Upload it, or send its bytes.")
        self._put(named, await self._pictures.fetched(self._request.project, url, named.param))

    def _put(self, named: Named, shown: Shown) -> None:
        self._count(len(shown.data), named)
        part = part_of(shown, named.part, responses=named.responses)
        if part is None:
            refuse("unsupported_file_type", f"A file of type {shown.mime_type} cannot be shown.", named.param, WANTED)
        named.show(part)
        self._changed = True

    def _look_at(self, named: Named, url: str) -> None:
        """A picture that the request carries: told by its true type, in the base64 that every engine reads."""
        head, comma, text = url.partition(",")
        words = [word.strip().lower() for word in head.split(";")]
        if not comma or not words[0].startswith("data:") or words[-1] != "base64":
            message = "A picture's URL must be http(s)://... or data:image/png;base64,..."
            refuse("invalid_image_url", message, named.param)
        plain, data = _from_base64(text)
        if data is None:
            refuse("invalid_base64_image", "The picture's data URL is not base64.", named.param)
        self._count(len(data), named)
        flaw = self._pictures.flaw(data, "The picture")
        if flaw is not None:
            refuse(flaw.code, flaw.message, named.param, flaw.remedy)
        true = f"data:{sniffed(data)};base64"
        if head != true or plain is not text:
            named.show(picture_part(f"{true},{plain}", named.part, responses=named.responses))
            self._changed = True

    def _count(self, size: int, named: Named) -> None:
        self._bytes += size
        if self._bytes > REQUEST_BYTES:
            message = f"The pictures and files of this request have more than {REQUEST_BYTES} bytes."
            refuse("image_file_too_large", message, named.param, "Send fewer, or smaller ones.")


class Room:
    """Bytes that may be taken, first come, first served. More than there are at all may be taken by one alone."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._taken = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, size: int) -> None:
        """Wait until there is room. What was taken must be given back."""
        if not self._waiting and self._fits(size):
            self._taken += size
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give(size)  # its turn came in the same moment
            raise

    def give(self, size: int) -> None:
        self._taken -= size
        while self._waiting and (self._waiting[0][1].done() or self._fits(self._waiting[0][0])):
            wanted, turn = self._waiting.popleft()
            if not turn.done():  # else whoever waited for it has given up
                self._taken += wanted
                turn.set_result(None)

    def _fits(self, size: int) -> bool:
        return not self._taken or self._taken + size <= self._most


def _read(body: bytes) -> tuple[dict[str, Raw], dict[str, object]]:
    """The fields of a body, and those of them that hold messages; of what cannot be read the engine says so."""
    try:
        fields = _decode(body)
    except _BROKEN:
        return {}, {}
    read: dict[str, object] = {}
    for key in fields.keys() & message_keys():
        with suppress(*_BROKEN):
            read[key] = msgspec.json.decode(fields[key])
    return fields, read


def _may_show(body: bytes) -> bool:
    """Whether a body may have parts that show something; letters of ASCII that are escaped may hide them."""
    return b"image_url" in body or b"file_id" in body or (rb"\u00" in body and _ASCII_ESCAPED.search(body) is not None)


def _remote(url: str) -> str | None:
    """The http(s) URL that a text means to any reader of URLs, some of which drop blanks (WHATWG's URL standard)."""
    if url.startswith("data:"):
        return None
    plain = url.translate(_BREAKS).strip(_BLANKS)
    return plain if _REMOTE.match(plain) else None


def _no_file(name: str, named: Named) -> NoReturn:
    message = f"There is no file '{name}' in this project, or it has expired."
    refuse("file_not_found", message, named.param, "Upload it, and give its id or its name.", status=404)


def _from_base64(text: str) -> tuple[str, bytes | None]:
    """Base64 as everybody reads it, and its bytes; either alphabet, spaces and missing padding are forgiven."""
    try:
        return text, binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        plain = text.translate(_TO_STANDARD).rstrip("=")
        plain += "=" * (-len(plain) % 4)
    try:
        return plain, binascii.a2b_base64(plain, strict_mode=True)
    except ValueError:
        return plain, None
