"""A form with one file in it, read as it arrives: the file goes where it is sent, the other fields are kept."""

from collections.abc import Awaitable, Callable, Mapping

from msgspec import Struct
from starlette.requests import Request

from batchyard.domain.errors import Invalid
from batchyard.server.multipart import Head, Multipart, boundary_of

FIELD_BYTES = 64 << 10
"""How long the text of one field may be."""
OVERHEAD_BYTES = 64 << 10
"""More than anything but its file takes of an honest form."""
NAMELESS = "upload"
"""What a file without a name is called, as the official clients call it."""


class Form(Struct, frozen=True):
    """What came beside the file's bytes, in whatever order."""

    filename: str
    fields: Mapping[str, str]


async def read_form(request: Request, file: str, write: Callable[[bytes], Awaitable[None]]) -> Form:
    """Send the bytes of the field named `file` to `write`, and return the rest. Raises Invalid."""
    form = Multipart(boundary_of(request.headers.get("content-type", "")))
    reading = _Reading(file, write)
    async for chunk in request.stream():
        for event in form.feed(chunk):
            match event:
                case Head():
                    reading.begin(event)
                case bytes():
                    await reading.take(event)
                case _:
                    reading.end()
    form.close()
    return reading.form()


def announced_bytes(request: Request) -> int | None:
    """A size that the file will at least have, told by the length of the body; None where that is not known."""
    length = request.headers.get("content-length", "")
    return max(int(length) - OVERHEAD_BYTES, 0) if length.isascii() and length.isdigit() else None


class _Reading:
    def __init__(self, file: str, write: Callable[[bytes], Awaitable[None]]) -> None:
        self._file = file
        self._write = write
        self._filename: str | None = None
        self._fields: dict[str, str] = {}
        self._name = ""
        self._text = bytearray()

    def begin(self, head: Head) -> None:
        self._name = head.name
        if head.name != self._file:
            return
        if self._filename is not None:
            raise Invalid(f"The form has more than one '{self._file}'.", param=self._file, reason="invalid_value")
        self._filename = head.filename or NAMELESS

    async def take(self, data: bytes) -> None:
        if self._name == self._file:
            await self._write(data)
            return
        self._text += data
        if len(self._text) > FIELD_BYTES:
            raise Invalid(f"A field of the form is longer than {FIELD_BYTES} bytes.", param=self._name)

    def end(self) -> None:
        if self._name != self._file:
            self._fields[self._name] = self._text.decode(errors="replace")
            self._text.clear()

    def form(self) -> Form:
        if self._filename is None:
            raise Invalid(
                f"Missing required parameter: '{self._file}'.", param=self._file, reason="missing_required_parameter"
            )
        return Form(self._filename, self._fields)
