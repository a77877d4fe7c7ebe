"""What the calls of the OpenAI wire say, read strictly as to type: values are judged by the services.

Unknown fields are ignored. Readers of bodies give the fields under the services' own names for them.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from batchyard.dialects.openai import fields as wire
from batchyard.domain.errors import Invalid
from batchyard.domain.file import ExpiresAfter
from batchyard.store import Direction


class ListCall(Struct, frozen=True):
    """Which part of a list a call asks for."""

    after: str | None
    limit: int | None
    direction: Direction


def batch_fields(body: bytes, depth: int) -> dict[str, Any]:
    """Of creating a batch."""
    fields = wire.read_object(body, depth)
    return {
        "input_file_id": wire.text(fields, "input_file_id"),
        "endpoint": wire.text(fields, "endpoint"),
        "completion_window": wire.text(fields, "completion_window"),
        "metadata": wire.mapping(fields, "metadata"),
        "output_expires_after": wire.expiry(fields, "output_expires_after"),
        "priority": wire.whole(fields, "priority"),
    }


def upload_fields(body: bytes, depth: int) -> dict[str, Any]:
    """Of beginning an upload."""
    fields = wire.read_object(body, depth)
    return {
        "filename": wire.text(fields, "filename"),
        "purpose": wire.text(fields, "purpose"),
        "bytes": wire.whole(fields, "bytes"),
        "mime_type": wire.text(fields, "mime_type"),
        "expires_after": wire.expiry(fields, "expires_after"),
    }


def completion_fields(body: bytes, depth: int) -> tuple[list[str] | None, str | None]:
    """Of completing an upload: its parts in order, and the md5 of the whole."""
    fields = wire.read_object(body, depth)
    return wire.texts(fields, "part_ids"), wire.text(fields, "md5")


def form_expiry(fields: Mapping[str, str]) -> ExpiresAfter | None:
    """The expiry in a form: `expires_after[seconds]`, or `expires_after.seconds` as Azure's samples spell it."""
    given: dict[str, Any] = {}
    for key in ("seconds", "anchor"):
        found = fields.get(f"expires_after[{key}]", fields.get(f"expires_after.{key}"))
        if found is not None:
            given[key] = _number(found) if key == "seconds" else found
    return wire.expiry_of(given, "expires_after") if given else None


def list_call(query: Mapping[str, str]) -> ListCall:
    """Of listing: `after`, `limit` and `order`."""
    return ListCall(query.get("after") or None, limit_of(query), _direction(query.get("order", "desc")))


def limit_of(query: Mapping[str, str]) -> int | None:
    """How many are asked for; None where that is not said."""
    limit = query.get("limit")
    number = None if limit is None else _number(limit)
    if isinstance(number, str):
        raise wire.wrong_type("limit", "an integer", number)
    return number


def _direction(word: str) -> Direction:
    try:
        return Direction(word)
    except ValueError:
        raise Invalid(
            f"Invalid value: '{word[:100]}'. Supported values are: 'asc', 'desc'.",
            param="order",
            reason="invalid_value",
        ) from None


def _number(word: str) -> int | str:
    """A whole number of at most 18 digits; anything else stays what it is."""
    digits = word.removeprefix("-")
    return int(word) if digits.isascii() and digits.isdigit() and len(digits) <= 18 else word
