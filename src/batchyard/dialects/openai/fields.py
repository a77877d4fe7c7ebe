"""Reading the JSON bodies of calls: an object, its fields one by one, and the wire's words for what is wrong."""

from collections.abc import Mapping
from typing import Any, cast

import msgspec
from msgspec import Raw

from batchyard.domain.errors import Invalid
from batchyard.domain.file import ExpiresAfter

Fields = dict[str, Raw]

_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_ONE_KIND = bytes.maketrans(b"{}", b"[]")
_decode_object = msgspec.json.Decoder(Fields).decode


def read_object(body: bytes, depth: int) -> Fields:
    """The fields of a JSON object, unread. Raises Invalid where the body is anything else, or nested too deeply."""
    if too_deep(body, depth):
        raise Invalid(f"The body of your request is nested deeper than {depth} levels.", remedy="Send a flatter body.")
    try:
        if not body.isascii():
            body.decode()  # the decoder does not check what it does not read
        return _decode_object(body)
    except msgspec.ValidationError:
        raise Invalid("The body of your request is not a JSON object.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"We could not parse the JSON body of your request: {error}.") from None


def text(fields: Fields, name: str) -> str | None:
    """A string; None where it is absent or null."""
    found = value(fields, name)
    if found is None or isinstance(found, str):
        return found
    raise wrong_type(name, "a string", found)


def boolean(fields: Fields, name: str) -> bool:
    """True or false; false where it is absent or null."""
    found = value(fields, name)
    if found is None or isinstance(found, bool):
        return bool(found)
    raise wrong_type(name, "a boolean", found)


def whole(fields: Fields, name: str) -> int | None:
    """A whole number; None where it is absent or null."""
    found = value(fields, name)
    if found is None or type(found) is int:
        return found
    raise wrong_type(name, "an integer", found)


def texts(fields: Fields, name: str) -> list[str] | None:
    """A list of strings; None where it is absent or null."""
    found = value(fields, name)
    if found is None:
        return None
    if not isinstance(found, list):
        raise wrong_type(name, "an array of strings", found)
    entries = cast("list[Any]", found)
    for place, entry in enumerate(entries):
        if not isinstance(entry, str):
            raise wrong_type(f"{name}[{place}]", "a string", entry)
    return entries


def mapping(fields: Fields, name: str) -> dict[str, Any] | None:
    """An object; None where it is absent or null."""
    found = value(fields, name)
    if found is None or isinstance(found, dict):
        return cast("dict[str, Any] | None", found)
    raise wrong_type(name, "an object", found)


def expiry(fields: Fields, name: str) -> ExpiresAfter | None:
    """An expiry, `{"anchor": "created_at", "seconds": int}`; None where it is absent or null."""
    given = mapping(fields, name)
    return None if given is None else expiry_of(given, name)


def expiry_of(given: Mapping[str, Any], name: str) -> ExpiresAfter:
    """An expiry from its parts. Its numbers and words are not judged here."""
    seconds, anchor = given.get("seconds"), given.get("anchor", "created_at")
    if seconds is None:
        raise missing(f"{name}.seconds")
    if type(seconds) is not int:
        raise wrong_type(f"{name}.seconds", "an integer", seconds)
    if not isinstance(anchor, str):
        raise wrong_type(f"{name}.anchor", "a string", anchor)
    return ExpiresAfter(seconds, anchor)


def value(fields: Fields, name: str) -> Any:
    """A field's value; None where it is absent."""
    raw = fields.get(name)
    try:
        return None if raw is None else msgspec.json.decode(raw)
    except msgspec.DecodeError as error:  # a number that is too large to be one
        raise Invalid(f"We could not parse '{name}': {error}.", param=name) from None


def missing(name: str) -> Invalid:
    return Invalid(f"Missing required parameter: '{name}'.", param=name, reason="missing_required_parameter")


def wrong_type(name: str, expected: str, found: object) -> Invalid:
    return Invalid(
        f"Invalid type for '{name}': expected {expected}, but got {_TYPES.get(type(found), 'something else')} instead.",
        param=name,
        reason="invalid_type",
    )


_TYPES: Mapping[type, str] = {
    bool: "a boolean",
    int: "an integer",
    float: "a decimal",
    str: "a string",
    list: "an array",
    dict: "an object",
    type(None): "null",
}


def too_deep(body: bytes, depth: int) -> bool:
    """Whether brackets nest deeper than `depth`. Brackets inside strings count too, so only suspects are looked at."""
    if body.translate(_ONE_KIND, _NOT_BRACKETS).count(b"[") <= depth:
        return False
    return _height(_outside_strings(body).translate(_ONE_KIND, _NOT_BRACKETS), depth) > depth


def _outside_strings(body: bytes) -> bytes:
    plain = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    return b"".join(plain.split(b'"')[::2])


def _height(brackets: bytes, limit: int) -> int:
    """The nesting of brackets, up to `limit` + 1: taking all innermost pairs away lowers it by exactly one."""
    for height in range(limit + 1):
        shorter = brackets.replace(b"[]", b"")
        if len(shorter) == len(brackets):
            return height  # none left, or unbalanced: then the parser will say so
        brackets = shorter
    return limit + 1
