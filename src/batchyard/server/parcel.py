"""A multipart body with one file in it, read as it arrives: the bytes pass through, the fields around are kept."""

from collections.abc import Iterator, Mapping

from starlette.requests import Request

from batchyard.blob import Takes
from batchyard.domain.errors import Invalid
from batchyard.server.body import announced_bytes, pour
from batchyard.server.multipart import Event, Head, Multipart, boundary_of

FIELD_BYTES = 64 << 10
"""How long the text of one field may be."""
OVERHEAD_BYTES = 64 << 10
"""More than anything but its file takes of an honest form."""
NAMELESS = "upload"
"""What a file without a name is called, as the official clients call it."""


class Parcel:
    """One call's parcel. Once its file was poured out, `filename` and `fields` hold what came before and behind it."""

    def __init__(self, request: Request, file: str) -> None:
        self.filename: str | None = None
        self._fields: dict[str, str] = {}
        self._request = request
        self._file = file
        self._name = ""
        self._text = bytearray()

    @property
    def fields(self) -> Mapping[str, str]:
        """The text of every other field; of one that came twice, the last."""
        return self._fields

    @property
    def announced_bytes(self) -> int | None:
        """A size that the file at least has, told by the length of the body; None where that is not known."""
        length = announced_bytes(self._request)
        return None if length is None else max(length - OVERHEAD_BYTES, 0)

    async def pour(self, into: Takes) -> None:
        """Pour the bytes of the file into what takes them. Raises Invalid where the body is no form or has no file."""
        form = Multipart(boundary_of(self._request.headers.get("content-type", "")))
        await pour(self._request, into, lambda chunk: self._file_in(form.feed(chunk)))
        form.close()
        if self.filename is None:
            raise Invalid(
                f"Missing required parameter: '{self._file}'.", param=self._file, reason="missing_required_parameter"
            )

    def _file_in(self, events: Iterator[Event]) -> Iterator[bytes]:
        """The pieces of the file; the rest is kept."""
        for event in events:
            if isinstance(event, Head):
                self._begin(event)
            elif not isinstance(event, bytes):
                self._end()
            elif self._name == self._file:
                yield event
            else:
                self._take(event)

    def _begin(self, head: Head) -> None:
        self._name = head.name
        if head.name == self._file:
            if self.filename is not None:
                raise Invalid(f"The form has more than one '{self._file}'.", param=self._file, reason="invalid_value")
            self.filename = head.filename or NAMELESS

    def _take(self, data: bytes) -> None:
        self._text += data
        if len(self._text) > FIELD_BYTES:
            raise Invalid(f"A field of the form is longer than {FIELD_BYTES} bytes.", param=self._name[:100])

    def _end(self) -> None:
        if self._name != self._file:
            self._fields[self._name] = self._text.decode(errors="replace")
            self._text.clear()
