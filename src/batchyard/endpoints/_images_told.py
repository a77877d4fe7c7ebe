"""A request for pictures as a chat, and the chat's answer as pictures.

OpenAI has no words for this. OpenRouter's are taken for the request (`modalities`, `image_config`), beside vLLM-Omni's
`width` and `height`; an answer may have its pictures in the message's `images`, or among the parts of its content, as
data URLs. What a model says beside its pictures is told as `text`, and `index` is the choice that a picture is of: both
are ours.
"""

import math
from collections.abc import Iterator
from typing import Any, TypeAlias, cast

import msgspec

from batchyard.endpoint import Problem

Json: TypeAlias = dict[str, Any]

NOT_FOR_CHAT = frozenset(
    {"prompt", "size", "response_format", "quality", "style", "background", "moderation"}
    | {"output_format", "output_compression", "partial_images"}
)
"""Keys that are translated or mean nothing to a chat; every other key is handed on as it is."""

IMAGE = "data:image/"

LARGEST_SIDE = 32
"""Of a ratio that is worth telling: 16:9 is, 683:384 is not."""


def to_chat(body: bytes) -> bytes | Problem:
    """The chat that asks for the same pictures, or why there is none."""
    try:
        request = _object(msgspec.json.decode(body))
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        return Problem("invalid_request", f"The body cannot be read: {error}.", "", "Send a JSON object.")
    chat = {key: value for key, value in request.items() if key not in NOT_FOR_CHAT}
    chat["messages"] = [{"role": "user", "content": request.get("prompt")}]
    chat["modalities"] = ["image", "text"]
    return msgspec.json.encode(chat | _sides(request.get("size")))


def from_chat(answer_body: bytes, request_body: bytes) -> bytes:
    """The list of pictures that a chat's answer has; perhaps an empty one.

    Raises msgspec.DecodeError or ValueError where the answer is not a chat completion.
    """
    answer = _object(msgspec.json.decode(answer_body))
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices:
        raise ValueError("the answer has no choices")
    listed = [_object(choice) for choice in cast("list[Any]", choices)]
    pictures = [made for place, choice in enumerate(listed) for made in _pictures(choice, place)]
    told: Json = {"created": answer.get("created") or 0, "data": [entry for _, entry in pictures]}
    if pictures:
        told["output_format"] = pictures[0][0]
    elif words := "".join(_words(choice) for choice in listed):
        told["text"] = words
    usage = _usage(answer.get("usage"))
    return msgspec.json.encode(told | ({"usage": usage} if usage else {}))


def _sides(size: object) -> Json:
    """`size` in the words that chats have for it."""
    wide, _, high = str(size).partition("x")
    if not (wide.isdecimal() and high.isdecimal() and int(wide) and int(high)):
        return {}
    width, height = int(wide), int(high)
    common = math.gcd(width, height)
    sides: Json = {"width": width, "height": height}
    if max(width, height) // common <= LARGEST_SIDE:
        sides["image_config"] = {"aspect_ratio": f"{width // common}:{height // common}"}
    return sides


def _pictures(choice: Json, place: int) -> Iterator[tuple[str, Json]]:
    """Each picture of a choice, with its format; the words go with the first one."""
    words = _words(choice)
    for part in _parts(choice):
        head, _, data = str(_object(part.get("image_url") or {}).get("url", "")).partition(";base64,")
        if data and head.startswith(IMAGE):
            entry: Json = {"b64_json": data, "index": choice.get("index", place)}
            yield head.removeprefix(IMAGE), entry | ({"text": words} if words else {})
            words = ""


def _words(choice: Json) -> str:
    return "".join(str(part.get("text") or "") for part in _parts(choice) if part.get("type") == "text").strip()


def _parts(choice: Json) -> list[Json]:
    """The parts of a message, wherever they stand."""
    message = _object(choice.get("message") or {})
    content = message.get("content")
    parts = cast("list[Any]", content) if isinstance(content, list) else [{"type": "text", "text": content}]
    return [_object(part) for part in [*parts, *cast("list[Any]", message.get("images") or [])]]


def _usage(usage: object) -> Json | None:
    """Tokens in the spelling of the pictures' endpoint."""
    if not isinstance(usage, dict):
        return None
    told = cast("Json", usage)
    into, out = int(told.get("prompt_tokens") or 0), int(told.get("completion_tokens") or 0)
    return {"input_tokens": into, "output_tokens": out, "total_tokens": into + out}


def _object(value: object) -> Json:
    if not isinstance(value, dict):
        raise ValueError("the answer has another shape")
    return cast("Json", value)
