"""How many tokens a request has, as far as that is known without its model: an estimate.

4 bytes of UTF-8 are one token, as the rates of a project count them, and a picture is as many as the service says of a
small one. Engines have no call that counts, and a prompt that a model reads only to count it costs like any other.
"""

from typing import Any, cast

import msgspec

from batchyard.dialects.gemini.spelling import Json

PICTURE_TOKENS = 258


def count_tokens(body: Json) -> Json:
    """A CountTokensResponse of a chat, or of the making of pictures."""
    words = bytearray(str(body.get("prompt") or "").encode("utf-8", "replace"))
    pictures = 0
    for message in cast("list[Json]", body.get("messages") or []):
        for part in _parts(message):
            words += part.get("text", "").encode("utf-8", "replace")
            pictures += part["type"] == "image_url"
        words += _encoded(message.get("tool_calls"))
    words += _encoded(body.get("tools"))
    text = (len(words) + 3) // 4
    details = [{"modality": "TEXT", "tokenCount": text}]
    if pictures:
        details.append({"modality": "IMAGE", "tokenCount": pictures * PICTURE_TOKENS})
    return {"totalTokens": text + pictures * PICTURE_TOKENS, "promptTokensDetails": details}


def _parts(message: Json) -> list[Json]:
    content: Any = message.get("content") or ""
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _encoded(value: object) -> bytes:
    return msgspec.json.encode(value) if value else b""
