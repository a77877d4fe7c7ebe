"""One spelling for keys: clients mix `inlineData` and `inline_data` inside one object; we read camelCase.

What a caller wrote freely (arguments of functions, plain JSON schemas, metadata, names of properties) keeps its keys.
"""

import re
from typing import Any, TypeAlias, cast

from batchyard.dialects.gemini.unfit import Shapeless

Json: TypeAlias = dict[str, Any]

FREE = frozenset(
    {
        "args",
        "responseJsonSchema",
        "responseJsonSchemaOrdered",
        "parametersJsonSchema",
        "metadata",
        "labels",
        "userMetadata",
        "example",
        "default",
    }
)
"""Keys whose values are the caller's own."""

_RESPONSE_OF = "functionResponse"
_NAMES_OF = "properties"
_snake = re.compile(r"(?<=[a-zA-Z0-9])_([a-zA-Z0-9])").sub


def camel(key: str) -> str:
    """A key in camelCase; a leading underscore, which one client writes, is dropped."""
    return _snake(lambda found: found[1].upper(), key.lstrip("_")) if "_" in key else key


def normal(value: object, inside: str = "") -> Any:
    """A value with its keys in camelCase, at every depth. Raises Shapeless where a key is there in both spellings."""
    if isinstance(value, list):
        return [normal(each, inside) for each in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    given = cast("Json", value)
    if inside == _NAMES_OF:
        return {name: normal(each) for name, each in given.items()}
    read: Json = {}
    for key, each in given.items():
        name = camel(key)
        if name in read:
            raise Shapeless(f"The field '{name}' is there twice.", name, "Write it once, in one spelling.")
        free = name in FREE or (inside == _RESPONSE_OF and name == "response")
        read[name] = each if free else normal(each, name)
    return read
