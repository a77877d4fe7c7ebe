"""Input files for runs."""

import json
from collections.abc import Iterable
from typing import Any


def chat_line(custom_id: str, text: str = "hello", **body: object) -> dict[str, Any]:
    """One chat request, as a person would write it."""
    whole = {"messages": [{"role": "user", "content": text}], **body}
    return {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": whole}


def chat_file(count: int, **body: object) -> bytes:
    """`count` requests with ids `req-0`, `req-1`, ... and different texts."""
    return jsonl(chat_line(f"req-{n}", f"text {n}", **body) for n in range(count))


def jsonl(values: Iterable[object]) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def parsed(lines: bytes) -> list[dict[str, Any]]:
    """The objects of a JSONL file; every line must be one."""
    return [json.loads(line) for line in lines.splitlines()]


def answers_by_id(lines: bytes) -> dict[str, str]:
    """The answered texts; fails where a line has none."""
    return {line["custom_id"]: line["response"]["body"]["choices"][0]["message"]["content"] for line in parsed(lines)}
