"""Is this a file of lines at all? Answered from its first line, while the bytes pass by.

Whether every line can run is the pipeline's question; this one only keeps obvious mistakes (an empty file, an archive,
a spreadsheet) from being found out later.
"""

import codecs
from contextlib import aclosing

import msgspec

from batchyard.blob import Blobs
from batchyard.domain.errors import Invalid, NotFound

_KEPT_BYTES = 1 << 20
"""A longer first line is only looked at from its beginning."""

_OTHERS = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"PK\x03\x04", "zip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ", "xz"),
    (b"%PDF", "PDF"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
"""How files begin that are often taken for others, and what they are."""


class FirstLine:
    """Keeps the beginning of a file, up to the end of its first line that is not blank."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._whole = False
        self._begun = False

    def feed(self, data: bytes) -> None:
        """See the next bytes of the file."""
        if self._whole:
            return
        self._kept += data[: _KEPT_BYTES + 1]
        self._drop_blank()
        end = self._kept.find(b"\n")
        if end >= 0:
            del self._kept[end:]
        self._whole = end >= 0 or len(self._kept) > _KEPT_BYTES

    @property
    def line(self) -> bytes | None:
        """The first line, once all of it was seen; None until then, and where it is too long."""
        return bytes(self._kept) if self._whole and len(self._kept) <= _KEPT_BYTES else None

    def require_json(self) -> None:
        """Raise Invalid where there is no line, or the first is not JSON. Asked once the whole file was seen."""
        line = bytes(self._kept).strip()
        if not line:
            raise _refused("The file is empty.")
        if len(line) > _KEPT_BYTES:
            if not line.startswith(b"{"):
                raise _refused(f"The first line is not a JSON object{_looks(line)}.")
            return
        try:
            msgspec.json.decode(line)
        except (msgspec.ValidationError, RecursionError):
            return  # JSON, with a number or a depth beyond us: whoever checks the lines will say more
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise _refused(f"The first line is not valid JSON{_looks(line)}.") from error

    def _drop_blank(self) -> None:
        if not self._begun:
            if len(self._kept) < len(codecs.BOM_UTF8) and codecs.BOM_UTF8.startswith(self._kept):
                return  # it may still become a byte order mark
            self._begun = True
            if self._kept.startswith(codecs.BOM_UTF8):
                del self._kept[: len(codecs.BOM_UTF8)]
        blank = len(self._kept) - len(self._kept.lstrip())
        del self._kept[:blank]


async def begins_with_json(blobs: Blobs, blob: str, size: int) -> bool:
    """Whether the first line of a blob is JSON. True where the bytes are gone: then there is no file either."""
    first = FirstLine()
    try:
        async with aclosing(blobs.read_range(blob, 0, min(size, _KEPT_BYTES + 1))) as chunks:
            async for chunk in chunks:
                first.feed(chunk)
        first.require_json()
    except NotFound:
        return True
    except Invalid:
        return False
    return True


def require_jsonl_name(filename: str) -> None:
    """Raise Invalid where a batch input is not named like one."""
    if not filename.endswith(".jsonl"):
        raise _refused("The name of a batch input must end in .jsonl.")


def _looks(line: bytes) -> str:
    return next((f"; this looks like {kind}" for start, kind in _OTHERS if line.startswith(start)), "")


def _refused(why: str) -> Invalid:
    return Invalid(
        f"Invalid file format for Batch API. Must be .jsonl: one JSON object per line. {why}",
        remedy="Send one request per line, as UTF-8.",
    )
