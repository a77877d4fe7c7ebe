"""Flags whose value is a JSON object, given in parts: `--overrides.rope.factor 2 --overrides.names+ a`.

vLLM's command line takes them so; ours does too. A value that is not JSON is text.
"""

import json
from collections.abc import Iterable
from typing import Any, cast


def merged(parts: Iterable[tuple[str, str]]) -> str:
    """One JSON object from dotted keys and their values, in order; the key "" stands for a whole object.

    Raises ValueError where a whole object is not one.
    """
    whole: dict[str, Any] = {}
    for path, text in parts:
        if path:
            _put(whole, path.split("."), _value(text))
        else:
            whole |= _object(text)
    return json.dumps(whole, ensure_ascii=False)


def _put(into: dict[str, Any], keys: list[str], value: object) -> None:
    for key in keys[:-1]:
        inner = into.get(key)
        into[key] = into = cast("dict[str, Any]", inner) if isinstance(inner, dict) else {}
    last = keys[-1]
    if last.endswith("+"):
        earlier = into.get(last[:-1])
        into[last[:-1]] = [*(cast("list[Any]", earlier) if isinstance(earlier, list) else []), value]
    else:
        into[last] = value


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _object(text: str) -> dict[str, Any]:
    value = _value(text)
    if not isinstance(value, dict):
        raise ValueError(f"{text!r} is not a JSON object")
    return cast("dict[str, Any]", value)
