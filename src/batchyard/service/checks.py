"""Checks that several calls share: the parameters of a create, the cursor of a list."""

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import TypeVar

import msgspec

from batchyard.domain.errors import Invalid
from batchyard.domain.file import MAX_EXPIRY_SECONDS, MIN_EXPIRY_SECONDS, ExpiresAfter
from batchyard.store import Cursor, Direction, Once, Page

T = TypeVar("T")

_MAX_KEY_LENGTH = 255
_MAX_PAIRS = 16
_MAX_METADATA_KEY = 64
_MAX_METADATA_VALUE = 512
_MAX_URL = 2_048
_TYPE_NAMES: Mapping[type, str] = {
    bool: "a boolean",
    int: "an integer",
    float: "a decimal",
    list: "an array",
    dict: "an object",
}


def required(value: T | None, name: str) -> T:
    """A parameter that must be there."""
    if value is None or value == "":
        raise Invalid(f"Missing required parameter: '{name}'.", param=name, reason="missing_required_parameter")
    return value


def one_of(value: str, supported: Iterable[str], name: str) -> str:
    """A parameter that must be one of a few words."""
    words = tuple(supported)
    if value not in words:
        listed = ", ".join(f"'{word}'" for word in words)
        raise Invalid(
            f"Invalid value: {_shown(value)}. Supported values are: {listed}.", param=name, reason="invalid_value"
        )
    return value


def url(value: str, name: str) -> str:
    """A URL that requests can go to, as far as its text tells."""
    scheme = value.partition("://")[0].lower()
    if scheme not in ("http", "https") or len(value) > _MAX_URL:
        message = f"Invalid '{name}': expected an http or https URL of at most {_MAX_URL} characters."
        raise Invalid(message, param=name, reason="invalid_value")
    return value


def expiry_seconds(given: ExpiresAfter | None, name: str) -> int | None:
    """How long a file lives after its creation, as asked for; None where nothing was asked."""
    if given is None:
        return None
    one_of(given.anchor, ("created_at",), f"{name}.anchor")
    return in_range(given.seconds, MIN_EXPIRY_SECONDS, MAX_EXPIRY_SECONDS, f"{name}.seconds")


def in_range(value: int, low: int, high: int | None, name: str) -> int:
    """A number within bounds, both included; `high` None is no bound."""
    if value < low:
        raise Invalid(
            f"Invalid '{name}': expected a value >= {low}, but got {value} instead.",
            param=name,
            reason="integer_below_min_value",
        )
    if high is not None and value > high:
        raise Invalid(
            f"Invalid '{name}': expected a value <= {high}, but got {value} instead.",
            param=name,
            reason="integer_above_max_value",
        )
    return value


def metadata(given: Mapping[str, object] | None) -> dict[str, str] | None:
    """A caller's own pairs: few, short, and strings."""
    if given is None:
        return None
    if len(given) > _MAX_PAIRS:
        raise Invalid(
            f"Invalid 'metadata': expected at most {_MAX_PAIRS} pairs, but got {len(given)} instead.",
            param="metadata",
            reason="object_above_max_properties",
        )
    return {_metadata_key(key): _metadata_value(key, value) for key, value in given.items()}


def cursor(limit: int | None, ceiling: int, default: int, after: str | None, direction: Direction) -> Cursor:
    """Which part of a list is asked for: more than the ceiling gives the ceiling, less than one is refused."""
    wanted = default if limit is None else in_range(limit, 1, None, "limit")
    return Cursor(min(wanted, ceiling), after, direction)


def known(page: Page[T] | None) -> Page[T]:
    """A page whose cursor named something."""
    if page is None:
        raise Invalid(
            "Invalid 'after': there is nothing with this id in the list.", param="after", reason="invalid_value"
        )
    return page


def once(key: str | None, asked: object) -> Once | None:
    """The creation that must happen once, for a caller's idempotency key and whatever was asked with it."""
    if key is None:
        return None
    if not 0 < len(key) <= _MAX_KEY_LENGTH:
        raise Invalid(
            f"An idempotency key has 1 to {_MAX_KEY_LENGTH} characters.",
            param="Idempotency-Key",
            reason="invalid_value",
        )
    return Once(key, sha256(msgspec.json.encode(asked, order="sorted")).hexdigest())


def _metadata_key(key: str) -> str:
    if len(key) > _MAX_METADATA_KEY:
        raise Invalid(
            f"Invalid 'metadata': a key has at most {_MAX_METADATA_KEY} characters, one has {len(key)}.",
            param="metadata",
            reason="string_above_max_length",
        )
    return key


def _metadata_value(key: str, value: object) -> str:
    name = f"metadata.{key}"
    if not isinstance(value, str):
        found = "null" if value is None else _TYPE_NAMES.get(type(value), "another type")
        raise Invalid(
            f"Invalid type for '{name}': expected a string, but got {found} instead.", param=name, reason="invalid_type"
        )
    if len(value) > _MAX_METADATA_VALUE:
        raise Invalid(
            f"Invalid '{name}': expected at most {_MAX_METADATA_VALUE} characters, but got {len(value)} instead.",
            param=name,
            reason="string_above_max_length",
        )
    return value


def _shown(value: str) -> str:
    return f"'{value}'" if len(value) <= 100 else f"'{value[:100]}...'"
