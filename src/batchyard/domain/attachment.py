"""A file that a request names instead of carrying it: a reference, replaced by its bytes before an engine sees it."""

from urllib.parse import quote, unquote

from msgspec import Struct

_SCHEME = "batchyard-file:"
_TYPE = "?type="


class Attachment(Struct, frozen=True):
    """A file of the request's project. `mime_type` is what the request calls it, None where it does not say."""

    name: str
    mime_type: str | None = None


def reference(name: str, mime_type: str | None = None) -> str:
    """The URL that stands in a request's body for a file."""
    return _SCHEME + quote(name) + ("" if mime_type is None else _TYPE + quote(mime_type))


def attachment(url: str) -> Attachment | None:
    """The file that a URL stands for; None where it is a URL like any other."""
    if not url.startswith(_SCHEME):
        return None
    name, _, mime_type = url.removeprefix(_SCHEME).partition(_TYPE)
    return Attachment(unquote(name), unquote(mime_type) or None)
