"""A streamed chat answer, told as the typed events of a response while it comes.

Source: the OpenAI API reference, "Streaming events" of responses. Items open when their first words come and close at
the end, where the whole chat answer is put together and said as a response once more (`_responses_out`).
"""

from collections.abc import Iterator, Sequence
from typing import Any, cast

import msgspec

from batchyard.endpoints._responses_in import Json
from batchyard.endpoints._responses_out import from_chat

_ENDS = {"incomplete": "response.incomplete", "failed": "response.failed"}


class ToldAsResponse:
    """Keeps what was said, for the end repeats it."""

    def __init__(self, request_body: bytes) -> None:
        self._request_body = request_body
        self._number = 0
        self._answer: Json = {}
        self._said = {"reasoning_content": "", "content": "", "refusal": ""}
        self._calls: list[Json] = []
        self._logprobs: list[Any] = []
        self._finish_reason: str | None = None
        self._items: dict[str, int] = {}

    def tell(self, piece: bytes) -> Sequence[bytes]:
        chunk = msgspec.json.decode(piece, type=dict[str, Any])
        return self._numbered([*self._begun(chunk), *self._told(chunk)])

    def end(self) -> Sequence[bytes]:
        response = self._response()
        output = cast("list[Json]", response["output"])
        output.sort(key=lambda item: self._items.get(item["id"], len(self._items)))
        events = [event for index, item in enumerate(output) for event in self._closed(index, item)]
        last: Json = {"type": _ENDS.get(response["status"], "response.completed"), "response": response}
        return self._numbered([*events, last])

    def _numbered(self, events: Sequence[Json]) -> list[bytes]:
        first, self._number = self._number, self._number + len(events)
        return [msgspec.json.encode({**event, "sequence_number": first + n}) for n, event in enumerate(events)]

    # The beginning

    def _begun(self, chunk: Json) -> Iterator[Json]:
        if self._answer:
            return
        self._answer = {key: chunk.get(key) for key in ("id", "created", "model", "service_tier")}
        blank: Json = {"status": "in_progress", "incomplete_details": None, "output": [], "usage": None}
        begun = self._response() | blank
        yield {"type": "response.created", "response": begun}
        yield {"type": "response.in_progress", "response": begun}

    def _response(self) -> Json:
        """What was said so far, as a response."""
        message: Json = {key: text for key, text in self._said.items() if text}
        if self._calls:
            message["tool_calls"] = self._calls
        choice = {"message": message, "finish_reason": self._finish_reason, "logprobs": {"content": self._logprobs}}
        answer = msgspec.json.encode({**self._answer, "choices": [choice]})
        return msgspec.json.decode(from_chat(answer, self._request_body), type=dict[str, Any])

    @property
    def _name(self) -> str:
        return str(self._answer.get("id") or "0").removeprefix("chatcmpl-")

    # The middle

    def _told(self, chunk: Json) -> Iterator[Json]:
        if chunk.get("usage"):
            self._answer["usage"] = chunk["usage"]
        for choice in cast("list[Json]", chunk.get("choices") or []):
            if choice.get("index", 0) == 0:
                yield from self._choice(choice)

    def _choice(self, choice: Json) -> Iterator[Json]:
        self._finish_reason = choice.get("finish_reason") or self._finish_reason
        delta = cast("Json", choice.get("delta") or {})
        logprobs = cast("list[Any]", cast("Json", choice.get("logprobs") or {}).get("content") or [])
        self._logprobs += logprobs
        if thought := delta.get("reasoning_content") or delta.get("reasoning"):
            yield from self._words("reasoning_content", "reasoning_text", thought, {})
        if content := delta.get("content"):
            yield from self._words("content", "output_text", content, {"logprobs": logprobs})
        if refused := delta.get("refusal"):
            yield from self._words("refusal", "refusal", refused, {})
        for call in cast("list[Json]", delta.get("tool_calls") or []):
            yield from self._call(call)

    def _words(self, key: str, kind: str, text: str, more: Json) -> Iterator[Json]:
        thinks = key == "reasoning_content"
        id = f"{'rs' if thinks else 'msg'}_{self._name}"
        if id not in self._items:
            blank: Json = {"type": "reasoning", "summary": []} if thinks else _message()
            yield self._opened({**blank, "id": id, "content": []})
        place = 1 if key == "refusal" and self._said["content"] else 0
        where: Json = {"item_id": id, "output_index": self._items[id], "content_index": place}
        if not self._said[key]:
            yield {"type": "response.content_part.added", **where, "part": _blank_part(kind)}
        self._said[key] += text
        yield {"type": f"response.{kind}.delta", **where, "delta": text, **more}

    def _call(self, piece: Json) -> Iterator[Json]:
        """A call's first piece names it; the others go on with its arguments."""
        number = int(piece.get("index") or 0)
        function = cast("Json", piece.get("function") or {})
        id = f"fc_{self._name}_{number}"
        if number == len(self._calls):
            named = {"name": function.get("name") or "", "arguments": ""}
            self._calls.append({"id": piece.get("id") or id, "type": "function", "function": named})
            call_id = self._calls[number]["id"]
            blank = {"type": "function_call", "call_id": call_id, **named, "status": "in_progress"}
            yield self._opened({**blank, "id": id})
        if not 0 <= number < len(self._calls):
            raise ValueError(f"the calls of the stream leave out number {len(self._calls)}")
        if arguments := function.get("arguments"):
            self._calls[number]["function"]["arguments"] += arguments
            where: Json = {"item_id": id, "output_index": self._items[id]}
            yield {"type": "response.function_call_arguments.delta", **where, "delta": arguments}

    def _opened(self, item: Json) -> Json:
        index = self._items[item["id"]] = len(self._items)
        return {"type": "response.output_item.added", "output_index": index, "item": item}

    # The end

    def _closed(self, index: int, item: Json) -> Iterator[Json]:
        id = item["id"]
        if id not in self._items:  # nothing was said at all
            yield self._opened({**item, "status": "in_progress"})
        where: Json = {"item_id": id, "output_index": index}
        if item["type"] == "function_call":
            done = {"arguments": item["arguments"], "name": item["name"]}
            yield {"type": "response.function_call_arguments.done", **where, **done}
        for place, part in enumerate(cast("list[Json]", item.get("content") or [])):
            here = {**where, "content_index": place}
            key = "refusal" if part["type"] == "refusal" else "text"
            logprobs = {"logprobs": part["logprobs"]} if "logprobs" in part else {}
            yield {"type": f"response.{part['type']}.done", **here, key: part[key], **logprobs}
            yield {"type": "response.content_part.done", **here, "part": part}
        yield {"type": "response.output_item.done", "output_index": index, "item": item}


def _message() -> Json:
    return {"type": "message", "role": "assistant", "status": "in_progress"}


def _blank_part(kind: str) -> Json:
    match kind:
        case "refusal":
            return {"type": kind, "refusal": ""}
        case "output_text":
            return {"type": kind, "text": "", "annotations": [], "logprobs": []}
        case _:
            return {"type": kind, "text": ""}
