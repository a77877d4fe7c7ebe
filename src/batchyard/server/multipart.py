"""Multipart forms (RFC 7578), parsed while they arrive: bytes in, events out, nothing kept but a few bytes.

A parser without I/O. Each part is a `Head`, then any number of non-empty pieces of data, then `END`. Pieces are slices
of what was fed, and mostly that itself: a large file passes through without being copied.
"""

import re
from collections.abc import Iterator
from enum import Enum
from typing import Final, Literal, TypeAlias
from urllib.parse import unquote

from msgspec import Struct

from batchyard.domain.errors import Invalid

HEAD_BYTES = 16 << 10
"""How much the headers of one part may take."""
PARTS = 128
"""How many parts a form may have."""

_BOUNDARY = re.compile(r'^multipart/form-data\s*;(?:.*;)?\s*boundary="?([^";\s][^";]{0,69})"?\s*(?:;|$)', re.I)
_PARAMETER = re.compile(r';\s*([\w*-]+)\s*=\s*(?:"((?:\\"|[^"])*)"|([^;\s"]*))')
_PADDING = b" \t"


class _End(Enum):
    END = "end"


END: Final = _End.END


class Head(Struct, frozen=True):
    """How a part begins: its field's name, and its file's name where it is one."""

    name: str
    filename: str | None = None


Event: TypeAlias = Head | bytes | Literal[_End.END]


class _State(Enum):
    PREAMBLE = "preamble"
    DELIMITED = "delimited"
    HEAD = "head"
    DATA = "data"
    EPILOGUE = "epilogue"


def boundary_of(content_type: str) -> bytes:
    """The boundary that a request's content type announces. Raises Invalid."""
    found = _BOUNDARY.match(content_type)
    if found is None:
        raise Invalid(
            "The content type of this call is not multipart/form-data with a boundary.", remedy="Send a form."
        )
    return found[1].rstrip().encode("latin-1", "replace")


class Multipart:
    """One form on its way. Feed it until the body ends, then `close` it."""

    def __init__(self, boundary: bytes) -> None:
        self._delimiter = b"\r\n--" + boundary
        self._state = _State.PREAMBLE
        self._kept = b"\r\n"  # the first delimiter needs no line before it
        self._parts = 0

    def feed(self, data: bytes) -> Iterator[Event]:
        """What the next bytes bring. Raises Invalid where they are no form."""
        data = self._kept + data if self._kept else data
        self._kept = b""
        while data:
            match self._state:
                case _State.DATA:
                    before, data, ended = self._until_delimiter(data)
                    if before:
                        yield before
                    if ended:
                        yield END
                case _State.HEAD:
                    head, data = self._head(data)
                    if head is not None:
                        yield head
                case _State.PREAMBLE:
                    _, data, _ = self._until_delimiter(data)
                case _State.DELIMITED:
                    data = self._after_delimiter(data)
                case _State.EPILOGUE:
                    return

    def close(self) -> None:
        """The body has ended. Raises Invalid where the form has not."""
        if self._state is not _State.EPILOGUE:
            raise Invalid("The form in the body of this call ends too early.", remedy="Send it whole.")

    def _until_delimiter(self, data: bytes) -> tuple[bytes, bytes, bool]:
        """What comes before a delimiter, the rest behind it, whether there is one. Keeps back what may begin one."""
        start = data.find(b"\r")  # one byte is found ten times as fast as several
        if start < 0:
            return data, b"", False
        found = data.find(self._delimiter, start)
        if found >= 0:
            self._state = _State.DELIMITED
            return data[:found], data[found + len(self._delimiter) :], True
        start = data.find(b"\r", max(start, len(data) - len(self._delimiter) + 1))
        while start >= 0 and not self._delimiter.startswith(data[start:]):
            start = data.find(b"\r", start + 1)
        if start < 0:
            return data, b"", False
        self._kept = data[start:]
        return data[:start], b"", False

    def _after_delimiter(self, data: bytes) -> bytes:
        """Another part follows a line's end; two dashes end the form."""
        rest = data.lstrip(_PADDING)
        if rest in (b"", b"\r", b"-"):
            self._kept = rest
            return b""
        if rest.startswith(b"--"):
            self._state = _State.EPILOGUE
        elif rest.startswith(b"\r\n"):
            self._begin_part()
        else:
            raise Invalid("The form in the body of this call has a broken boundary.")
        return rest[2:] if self._state is _State.HEAD else b""

    def _begin_part(self) -> None:
        self._parts += 1
        if self._parts > PARTS:
            raise Invalid(f"The form in the body of this call has more than {PARTS} parts.")
        self._state = _State.HEAD

    def _head(self, data: bytes) -> tuple[Head | None, bytes]:
        end = data.find(b"\r\n\r\n")
        if max(end, 0) > HEAD_BYTES or (end < 0 and len(data) > HEAD_BYTES):
            raise Invalid(f"The headers of a part of the form are longer than {HEAD_BYTES} bytes.")
        if end < 0:
            self._kept = data
            return None, b""
        self._state = _State.DATA
        return _read_head(data[:end]), data[end + 4 :]


def _read_head(head: bytes) -> Head:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-disposition":
            return _disposition(value.decode(errors="replace"))
    raise Invalid("A part of the form has no Content-Disposition.")


def _disposition(value: str) -> Head:
    given = {m[1].lower(): _unescaped(m[2]) if m[2] is not None else m[3] for m in _PARAMETER.finditer(value)}
    if "name" not in given:
        raise Invalid("A part of the form has no name.")
    return Head(given["name"], _extended(given.get("filename*", "")) or given.get("filename"))


def _extended(value: str) -> str:
    charset, _, encoded = value.partition("''")
    return unquote(encoded) if charset.lower() == "utf-8" else ""


def _unescaped(text: str) -> str:
    return text.replace('\\"', '"').replace("%22", '"')
