"""The calls of a resumable upload: how it begins, and the bytes that follow. All that they say wrong is an Unfit.

Both go to one path; headers tell what each is for.
"""

from collections.abc import Mapping

from msgspec import Struct

from batchyard.dialects.gemini import reading as read
from batchyard.dialects.gemini.files import COLLECTION
from batchyard.dialects.gemini.lenient import read_leniently
from batchyard.dialects.gemini.spelling import Json, normal
from batchyard.dialects.gemini.unfit import Unfit

GRANULARITY_BYTES = 262_144
"""What clients are told to cut their bytes by. Others are taken too."""
STATUS = "x-goog-upload-status"
RECEIVED = "x-goog-upload-size-received"
_PROTOCOL = "x-goog-upload-protocol"
_COMMAND = "x-goog-upload-command"
_OFFSET = "x-goog-upload-offset"
_LENGTH = "x-goog-upload-header-content-length"
_TYPE = "x-goog-upload-header-content-type"
_FILE_NAME = "x-goog-upload-file-name"

_FIELDS = frozenset(
    {
        "name", "displayName", "mimeType", "sizeBytes", "createTime", "updateTime", "expirationTime", "sha256Hash",
        "uri", "downloadUri", "state", "source", "error", "videoMetadata",
    }
)  # fmt: skip
_MAX_DIGITS = 18


class Begun(Struct, frozen=True):
    """What shall be uploaded. None: not said."""

    filename: str | None = None
    name: str | None = None
    display_name: str | None = None
    mime_type: str | None = None
    bytes: int | None = None


class Command(Struct, frozen=True):
    """What a call with bytes asks for: one of `query` and `cancel`, or bytes from an offset on, perhaps the last."""

    query: bool = False
    cancel: bool = False
    last: bool = False
    offset: int | None = None


def beginning(headers: Mapping[str, str], body: bytes, depth: int) -> Begun:
    """What the first call says, in its body and in its headers."""
    protocol = headers.get(_PROTOCOL, "resumable").strip().lower()
    if protocol != "resumable":
        raise Unfit(f"The upload protocol '{protocol[:50]}' is not known.", _PROTOCOL, "Use: resumable.")
    words = _words(headers)
    if words != {"start"}:
        raise Unfit(
            f"An upload cannot begin with the command '{', '.join(sorted(words))[:50]}'.", _COMMAND, "Use: start."
        )
    file = _file(body, depth)
    announced = headers.get(_LENGTH) or file.get("sizeBytes")
    return Begun(
        filename=_recoded(headers.get(_FILE_NAME)),
        name=_named(_text(file, "name")),
        display_name=_text(file, "displayName"),
        mime_type=_text(file, "mimeType") or headers.get(_TYPE) or None,
        bytes=None if announced is None else _size(announced),
    )


def command(headers: Mapping[str, str]) -> Command:
    """What a later call asks for."""
    words = _words(headers)
    match sorted(words):
        case ["query"]:
            return Command(query=True)
        case ["cancel"]:
            return Command(cancel=True)
        case ["finalize"]:
            return Command(last=True, offset=_offset(headers) if _OFFSET in headers else None)
        case ["upload"] | ["finalize", "upload"]:
            return Command(last="finalize" in words, offset=_offset(headers))
        case _:
            raise Unfit(
                f"The command '{headers.get(_COMMAND, '')[:50]}' is not known.",
                _COMMAND,
                "Use one of: upload; upload, finalize; finalize; query; cancel.",
            )


def _words(headers: Mapping[str, str]) -> set[str]:
    return {word for each in headers.get(_COMMAND, "").split(",") if (word := each.strip().lower())}


def _file(body: bytes, depth: int) -> Json:
    if not body.strip():
        return {}
    given = normal(read_leniently(body, depth))
    read.only(given, {"file"}, "")
    file = given.get("file")
    if file is None:
        return {}
    file = read.an_object(file, "file")
    read.only(file, _FIELDS, "file")
    return file


def _text(file: Json, field: str) -> str | None:
    given = file.get(field)
    return None if given is None else read.text(given, f"file.{field}") or None


def _named(name: str | None) -> str | None:
    """A name without its collection."""
    return None if name is None else name.removeprefix(COLLECTION)


def _size(given: object) -> int:
    size = read.whole(given, "file.sizeBytes")
    if not 0 <= size < 10**_MAX_DIGITS:
        raise Unfit(f"The size {str(size)[:30]} is none.", "file.sizeBytes")
    return size


def _offset(headers: Mapping[str, str]) -> int:
    given = headers.get(_OFFSET, "").strip()
    if not (given.isascii() and given.isdigit() and len(given) <= _MAX_DIGITS):
        raise Unfit(f"The offset '{given[:50]}' is no number.", _OFFSET, "Say from which byte on these bytes go.")
    return int(given)


def _recoded(header: str | None) -> str | None:
    """A header's text as it was meant: headers are read as Latin-1, and written as UTF-8."""
    try:
        return header.encode("latin-1").decode() if header else None
    except UnicodeError:
        return header
