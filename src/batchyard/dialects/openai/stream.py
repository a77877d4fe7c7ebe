"""A finished answer, told as the stream of server-sent events that a caller asked for.

Chat and completions are `data: <chunk>` events ended by `data: [DONE]`; responses are typed events
(`openai_stream_responses`). Each choice tells its role, its whole content, then why it ended.
"""

from collections.abc import Iterator
from typing import Any, cast

import msgspec

from batchyard.dialects.openai.stream_responses import response_events

Object = dict[str, Any]

STREAMED = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/responses"})
DONE = b"data: [DONE]\n\n"


def stream(endpoint: str, body: bytes, *, include_usage: bool) -> bytes:
    """All events of a successful answer. `endpoint` is one of STREAMED."""
    answer = cast("Object", msgspec.json.decode(body))
    if endpoint == "/v1/responses":
        return b"".join(event(e, name=e["type"]) for e in response_events(answer))
    split = _chat if endpoint == "/v1/chat/completions" else _completion
    chunks = [event(chunk) for chunk in _chunks(answer, split, include_usage)]
    return b"".join([*chunks, DONE])


def event(value: Object, name: str | None = None) -> bytes:
    """One server-sent event."""
    head = b"" if name is None else b"event: " + name.encode() + b"\n"
    return head + b"data: " + msgspec.json.encode(value) + b"\n\n"


def _chunks(answer: Object, split: Any, include_usage: bool) -> Iterator[Object]:
    kept = {key: answer[key] for key in ("id", "object", "created", "model") if key in answer}
    if kept.get("object") == "chat.completion":
        kept["object"] = "chat.completion.chunk"
    usage: Object = {"usage": None} if include_usage else {}
    for choice in cast("list[Object]", answer.get("choices") or []):
        for part in split(choice):
            yield {**kept, "choices": [{"index": choice.get("index", 0), **part}], **usage}
    if include_usage:
        yield {**kept, "choices": [], "usage": answer.get("usage")}


def _chat(choice: Object) -> Iterator[Object]:
    message = cast("Object", choice.get("message") or {})
    logprobs = choice.get("logprobs")
    rest = {key: value for key, value in message.items() if key != "role" and value is not None}
    if isinstance(rest.get("tool_calls"), list):
        rest["tool_calls"] = [{"index": i, **call} for i, call in enumerate(cast("list[Object]", rest["tool_calls"]))]
    opening = {"role": message.get("role", "assistant"), "content": ""}
    yield {"delta": opening, "logprobs": None, "finish_reason": None}
    if rest:
        yield {"delta": rest, "logprobs": logprobs, "finish_reason": None}
    yield {"delta": {}, "logprobs": None, "finish_reason": choice.get("finish_reason") or "stop"}


def _completion(choice: Object) -> Iterator[Object]:
    # One chunk: a chunk of this kind without a reason for its end is not valid for strict clients.
    yield {
        "text": choice.get("text", ""),
        "logprobs": choice.get("logprobs"),
        "finish_reason": choice.get("finish_reason") or "stop",
    }
