"""An answer that comes in pieces, as pieces of a GenerateContentResponse.

Words go out as they come, and thoughts where they were asked for. A call of a function goes out whole: it stands in the
last piece, with the reasons why the candidates ended and the tokens. The pieces are server-sent events, or the items of
one JSON array for those who did not ask for events.
"""

from typing import Any, cast

import msgspec
from msgspec import Struct, field

from batchyard.dialects.gemini.answer import (
    NO_IMAGE,
    call_part,
    finish_reason,
    logprobs,
    shown,
    unquoted,
    usage_metadata,
)
from batchyard.dialects.gemini.generate import Manner
from batchyard.dialects.gemini.spelling import Json

_piece = msgspec.json.Decoder(dict[str, Any]).decode


class _Open(Struct):
    """A candidate under way: what of it waits for its end."""

    finish: str | None = None
    drawn: bool = False
    calls: dict[int, Json] = field(default_factory=dict[int, Json])
    held: list[str] = field(default_factory=list[str])


class Pieces:
    """The pieces of one answer, in the bytes that the caller asked for."""

    def __init__(self, model: str, response_id: str, manner: Manner, *, events: bool) -> None:
        self._model = model
        self._id = response_id
        self._manner = manner
        self._events = events
        self._told = False
        self._open: dict[int, _Open] = {}
        self._usage: Json = {}

    def tell(self, piece: bytes) -> bytes:
        """What the caller gets of a chunk; perhaps nothing."""
        chunk = _piece(piece)
        self._usage = chunk.get("usage") or self._usage
        said = [self._said(choice) for choice in cast("list[Json]", chunk.get("choices") or [])]
        candidates = [each for each in said if each]
        return self._written(self._response(candidates)) if candidates else b""

    def end(self) -> bytes:
        """The last piece: why it ended, and what was held back."""
        ended = [self._ended(index, each) for index, each in sorted((self._open or {0: _Open()}).items())]
        last = self._response(ended) | {"usageMetadata": usage_metadata(self._usage)}
        return self._written(last) + self._closed()

    def break_off(self, error: bytes) -> bytes:
        """The error instead of a last piece."""
        return self._written_bytes(error) + self._closed()

    def whole(self, response: Json) -> bytes:
        """An answer that came in no pieces, as one."""
        return self._written(response) + self._closed()

    def _said(self, choice: Json) -> Json | None:
        """A chunk's choice as a candidate; None where it says nothing that can go out."""
        index: int = choice.get("index", 0)
        candidate = self._open.setdefault(index, _Open())
        candidate.finish = choice.get("finish_reason") or candidate.finish
        delta = cast("Json", choice.get("delta") or {})
        for call in cast("list[Json]", delta.get("tool_calls") or []):
            _add_call(candidate.calls, call)
        parts = self._parts(delta, candidate)
        probable = logprobs(choice.get("logprobs"))
        if not parts and not probable:
            return None
        return {"content": {"role": "model", "parts": parts or [{"text": ""}]}, "index": index, **probable}

    def _parts(self, delta: Json, candidate: _Open) -> list[Json]:
        parts: list[Json] = []
        thought = delta.get("reasoning_content") or delta.get("reasoning")
        if self._manner.thoughts and isinstance(thought, str):
            parts.append({"text": thought, "thought": True})
        words = delta.get("content") or delta.get("refusal")
        if isinstance(words, str):
            if self._manner.bare:
                candidate.held.append(words)
            else:
                parts.append({"text": words})
        for image in cast("list[Json]", delta.get("images") or []):
            part = shown(image)
            if part is not None:
                parts.append(part)
                candidate.drawn = True
        return parts

    def _ended(self, index: int, candidate: _Open) -> Json:
        reason = finish_reason(candidate.finish)
        parts: list[Json] = [{"text": unquoted("".join(candidate.held))}] if candidate.held else []
        for _, call in sorted(candidate.calls.items()):
            part = call_part(call)
            if part is None:
                reason = "MALFORMED_FUNCTION_CALL"
            else:
                parts.append(part)
        if self._manner.pictures and reason == "STOP" and not candidate.drawn:
            reason = NO_IMAGE
        content = {"role": "model", "parts": parts or [{"text": ""}]}
        return {"content": content, "finishReason": reason, "index": index}

    def _response(self, candidates: list[Json]) -> Json:
        return {"candidates": candidates, "modelVersion": self._model, "responseId": self._id}

    def _written(self, response: Json) -> bytes:
        return self._written_bytes(msgspec.json.encode(response))

    def _written_bytes(self, encoded: bytes) -> bytes:
        if self._events:
            return b"data: " + encoded + b"\n\n"
        first, self._told = not self._told, True
        return (b"[" if first else b",\n") + encoded

    def _closed(self) -> bytes:
        return b"" if self._events else b"]"


def _add_call(calls: dict[int, Json], told: Json) -> None:
    """Put a piece of a call to what is there of it: the name and the id come once, the arguments bit by bit."""
    call = calls.setdefault(told.get("index", 0), {"function": {"name": "", "arguments": ""}})
    function = cast("Json", told.get("function") or {})
    if told.get("id"):
        call["id"] = told["id"]
    call["function"]["name"] += function.get("name") or ""
    call["function"]["arguments"] += function.get("arguments") or ""
