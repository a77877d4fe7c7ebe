"""The stream of server-sent events that a caller asked for: of an answer that comes in pieces, or of a finished one.

Chat and completions are `data: <chunk>` events ended by `data: [DONE]`; responses are typed events
(`stream_responses`). Of a finished answer each choice tells its role, its whole content, then why it ended.

What breaks off ends with an event that holds the error, and nothing after it: OpenAI's clients raise it.
"""

from collections.abc import Iterator
from typing import Any, Protocol, cast

import msgspec
from msgspec import Raw, Struct

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


class Telling(Protocol):
    """The events of one answer that comes in pieces (`engine.Say` says what these are)."""

    def tell(self, piece: bytes) -> bytes:
        """What the caller gets of a piece; perhaps nothing."""
        ...

    def end(self) -> bytes:
        """What follows the last piece of a whole answer."""
        ...

    def break_off(self, error: bytes) -> bytes:
        """What follows the last piece where there will be no end: the error, from its envelope."""
        ...


def telling(endpoint: str, *, include_usage: bool, model: str | None = None) -> Telling:
    """`endpoint` is one of STREAMED. `model` is what the answer calls its model, None: as the engine does."""
    return _Events() if endpoint == "/v1/responses" else _Chunks(include_usage, model)


_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_NULL, _NONE = Raw(b"null"), Raw(b"[]")
_SAME = ("id", "object", "created", "model")


class _Chunks:
    """Chunks: all of one id, time and model, whatever the engine says, and the usage only where it was asked for."""

    def __init__(self, include_usage: bool, model: str | None) -> None:
        self._include_usage = include_usage
        self._same: dict[str, Raw] = {} if model is None else {"model": Raw(msgspec.json.encode(model))}
        self._usage = _NULL

    def tell(self, piece: bytes) -> bytes:
        chunk = _fields(piece)
        for key in _SAME:
            if key in chunk:
                self._same.setdefault(key, chunk[key].copy())
        usage = chunk.pop("usage", _NULL)
        if usage != _NULL:
            self._usage = usage.copy()
            if chunk.get("choices", _NONE) == _NONE:
                return b""
        return _event(chunk | self._same | ({"usage": _NULL} if self._include_usage else {}))

    def end(self) -> bytes:
        if not self._include_usage:
            return DONE
        return _event({**self._same, "choices": _NONE, "usage": self._usage}) + DONE

    def break_off(self, error: bytes) -> bytes:
        return b"data: " + error + b"\n\n"


class _Typed(Struct):
    type: str
    sequence_number: int = 0


_typed = msgspec.json.Decoder(_Typed).decode


class _Events:
    """Typed events, as they are."""

    def __init__(self) -> None:
        self._next = 0

    def tell(self, piece: bytes) -> bytes:
        told = _typed(piece)
        self._next = told.sequence_number + 1
        return b"event: " + told.type.encode() + b"\ndata: " + piece + b"\n\n"

    def end(self) -> bytes:
        return b""

    def break_off(self, error: bytes) -> bytes:
        # The reference has the fields flat; the official clients raise only what lies under `error`.
        inner = cast("Object", msgspec.json.decode(error))["error"]
        flat = {key: inner[key] for key in ("code", "message", "param")}
        return event({"type": "error", **flat, "sequence_number": self._next, "error": inner}, name="error")


def _event(chunk: dict[str, Raw]) -> bytes:
    return b"data: " + msgspec.json.encode(chunk) + b"\n\n"


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
