"""Which bytes of a file a call asks for (RFC 9110, sections 13 and 14). Pure.

One range is served; several at once are answered with the whole, which the standard allows.
"""

import re
from collections.abc import Mapping

from msgspec import Struct

_RANGE = re.compile(r"^bytes=\s*(\d{0,19})-(\d{0,19})\s*$")


class Span(Struct, frozen=True):
    """The bytes from `start` up to, not including, `end`; `partial` where the caller asked for a range."""

    start: int
    end: int
    partial: bool = False


def span(headers: Mapping[str, str], size: int, etag: str) -> Span | None:
    """The span to send; None where the range lies outside of the file (416). `etag` is the file's strong one, quoted.

    A range with an `If-Range` holds only while the file is the same; a date there never matches, because a tag says
    more. A range that cannot be read counts as none.
    """
    whole = Span(0, size)
    found = _RANGE.match(headers.get("range", ""))
    if found is None or not (found[1] or found[2]):
        return whole
    if headers.get("if-range", etag) != etag:
        return whole
    return _within(found[1], found[2], size)


def unchanged(headers: Mapping[str, str], etag: str) -> bool:
    """Whether the caller has this very file already (`If-None-Match`)."""
    tags = [tag.strip().removeprefix("W/") for tag in headers.get("if-none-match", "").split(",")]
    return etag in tags or "*" in tags


def _within(first: str, last: str, size: int) -> Span | None:
    if not first:
        start, end = max(size - int(last), 0), size  # the last so many bytes
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return Span(0, size)
    return Span(start, end, True) if start < end else None
