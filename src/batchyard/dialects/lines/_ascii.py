"""JSON on one line of ASCII, without changing what it says."""

import re
from json.encoder import encode_basestring_ascii

import msgspec

_check = msgspec.json.Decoder(msgspec.Raw).decode
_foreign = re.compile(r"[^\x00-\x7f]+")


def one_line(body: bytes) -> bytes | None:
    """A JSON value as one line of ASCII, each token as it was written; None where the bytes are not JSON.

    Text outside ASCII can only stand inside strings, where an escape says the same; a raw line break only between
    tokens, where a space does.
    """
    try:
        _check(body)
        if not body.isascii():
            body = _foreign.sub(_escape, body.decode()).encode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if b"\n" in body or b"\r" in body:
        body = body.replace(b"\n", b" ").replace(b"\r", b" ")
    return body


def quoted(text: str) -> bytes:
    """A text as a JSON string in ASCII."""
    return encode_basestring_ascii(text).encode()


def _escape(found: re.Match[str]) -> str:
    return encode_basestring_ascii(found[0])[1:-1]
