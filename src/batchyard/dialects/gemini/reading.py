"""Reading the fields of an object of known shape; what does not fit is refused by name."""

from collections.abc import Collection
from difflib import get_close_matches
from typing import Any, cast

from batchyard.dialects.gemini.spelling import Json
from batchyard.dialects.gemini.unfit import Shapeless


def an_object(value: object, field: str) -> Json:
    if not isinstance(value, dict):
        raise Shapeless(f"'{field}' must be an object.", field)
    return cast("Json", value)


def objects(value: object, field: str) -> list[Json]:
    """An array of objects; a lone object stands for an array of one."""
    given: list[Any] = [value] if isinstance(value, dict) else an_array(value, field)
    return [an_object(each, f"{field}[{number}]") for number, each in enumerate(given)]


def an_array(value: object, field: str) -> list[Any]:
    if not isinstance(value, list):
        raise Shapeless(f"'{field}' must be an array.", field)
    return cast("list[Any]", value)


def text(value: object, field: str) -> str:
    if not isinstance(value, str):
        raise Shapeless(f"'{field}' must be a string.", field)
    return value


def number(value: object, field: str) -> int | float:
    """A number; one of 64 bits may be written as a string."""
    if isinstance(value, str):
        value = _parsed(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Shapeless(f"'{field}' must be a number.", field)
    return value


def whole(value: object, field: str) -> int:
    """A whole number, also written as `10.0` or `"10"`."""
    read = number(value, field)
    if isinstance(read, float):
        if not read.is_integer():
            raise Shapeless(f"'{field}' must be a whole number, not {read}.", field)
        return int(read)
    return read


def boolean(value: object, field: str) -> bool:
    if not isinstance(value, bool):
        raise Shapeless(f"'{field}' must be true or false.", field)
    return value


def only(given: Json, known: Collection[str], field: str) -> None:
    """Refuse fields that nobody knows: a setting that is dropped in silence spoils a whole job."""
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, 1)
            where = f" in '{field}'" if field else ""
            raise Shapeless(
                f"Unknown field '{name}'{where}.",
                f"{field}.{name}" if field else name,
                f"Did you mean '{near[0]}'?" if near else "Leave it out.",
            )


def deeper_than(value: object, levels: int) -> bool:
    """Whether a JSON value nests deeper."""
    open_: list[tuple[object, int]] = [(value, 1)]
    while open_:
        each, level = open_.pop()
        if isinstance(each, dict | list):
            if level > levels:
                return True
            inner = cast("Json", each).values() if isinstance(each, dict) else cast("list[Any]", each)
            open_ += [(child, level + 1) for child in inner]
    return False


def _parsed(value: str) -> object:
    try:
        return int(value)
    except ValueError:
        return value
