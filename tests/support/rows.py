"""Rows of Gemini's result files as lines of OpenAI's, so that one check serves both wires."""

import json
from typing import Any

Json = dict[str, Any]


def a_row(key: str, text: str, **request: object) -> bytes:
    """A row that asks for an answer to a text."""
    asked = {"contents": [{"parts": [{"text": text}]}], **request}
    return json.dumps({"key": key, "request": asked}).encode() + b"\n"


def as_line(row: Json) -> Json:
    """A result row as a result line: a success in `response`, what ran and failed without an error of ours."""
    if "error" in row:
        code = {1: "batch_cancelled", 4: "batch_expired"}.get(row["error"]["code"])
        return {"custom_id": row["key"], "response": None, "error": None if code is None else {"code": code}}
    return {"custom_id": row["key"], "response": {"status_code": 200, "body": _body(row["response"])}, "error": None}


def succeeded(row: Json) -> bool:
    return "response" in row


def _body(response: Json) -> Json:
    if "embedding" in response:
        data = [{"object": "embedding", "index": 0, "embedding": response["embedding"]["values"]}]
        return {"object": "list", "data": data, "usage": {"prompt_tokens": int(response["tokenCount"])}}
    message = {"content": response["candidates"][0]["content"]["parts"][0]["text"]}
    usage = {"prompt_tokens": response["usageMetadata"]["promptTokenCount"]}
    return {"object": "chat.completion", "choices": [{"message": message}], "usage": usage}
