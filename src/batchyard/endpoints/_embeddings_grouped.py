"""Embeddings of several requests in one call: `input` becomes an array, and the answer is taken apart again.

Vectors stay the JSON that the engine wrote, so no digit of them changes. Engines tell the tokens of a call only in all;
each answer gets its share of them by the length of its text, and the shares sum to what was told.
"""

from collections.abc import Sequence
from typing import Any, cast

import msgspec
from msgspec import Raw

from batchyard.endpoint import Loose
from batchyard.policy.group import GROUP_BYTES, shares

_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_items = msgspec.json.Decoder(list[dict[str, Raw]]).decode
_ZERO = Raw(b"0")


def read(body: bytes) -> Loose | None:
    """One text that is not empty, however long it is within reason; anything else goes alone."""
    if len(body) > GROUP_BYTES:
        return None
    try:
        fields = _fields(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    text = bytes(fields.pop("input", b""))
    if not text.startswith(b'"') or text == b'""' or "stream" in fields or "model" not in fields:
        return None
    return Loose(msgspec.json.encode(fields), text)


def join(options: bytes, texts: Sequence[bytes]) -> bytes:
    return b'%b,"input":[%b]}' % (options[:-1], b",".join(texts))


def split(body: bytes, weights: Sequence[int]) -> list[bytes] | None:
    """One body for each text, in their order; None where the answer has not one vector for each."""
    try:
        fields = _fields(body)
        items = _in_order(_items(fields["data"]), len(weights))
        used = _shared(msgspec.json.decode(fields["usage"]), weights) if "usage" in fields else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError):
        return None
    if items is None:
        return None
    bodies: list[bytes] = []
    for place, item in enumerate(items):
        own: dict[str, Any] = {"data": [item | {"index": _ZERO}]}
        if used is not None:
            own["usage"] = used[place]
        bodies.append(msgspec.json.encode(fields | own))
    return bodies


def _in_order(items: list[dict[str, Raw]], count: int) -> list[dict[str, Raw]] | None:
    """The items by their index, where there is one of each index."""
    if len(items) != count:
        return None
    by_index = {bytes(item["index"]): item for item in items if "embedding" in item}
    ordered = [by_index.get(b"%d" % place) for place in range(count)]
    return None if None in ordered else cast("list[dict[str, Raw]]", ordered)


def _shared(used: Any, weights: Sequence[int]) -> list[Any]:
    """Each one's share: of every number in it; what is no number is the same for all."""
    if isinstance(used, dict):
        return _shared_object(cast("dict[str, Any]", used), weights)
    if isinstance(used, float):
        return [used * weight / sum(weights) for weight in weights]
    if isinstance(used, int) and not isinstance(used, bool):
        return list(shares(used, weights))
    return [used] * len(weights)


def _shared_object(used: dict[str, Any], weights: Sequence[int]) -> list[dict[str, Any]]:
    columns = {name: _shared(value, weights) for name, value in used.items()}
    parts = [used.get(name, 0) for name in ("prompt_tokens", "completion_tokens")]
    if all(type(part) is int for part in parts) and used.get("total_tokens") == sum(parts):
        nothing = [0] * len(weights)
        into, out = columns.get("prompt_tokens", nothing), columns.get("completion_tokens", nothing)
        columns["total_tokens"] = [a + b for a, b in zip(into, out, strict=True)]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)] or [{}] * len(weights)
