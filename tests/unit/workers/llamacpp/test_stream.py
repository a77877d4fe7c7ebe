from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from batchyard.domain.request import Request
from batchyard.workers.llamacpp.stream import Streams, Written
from batchyard.workers.openai import BadRequest
from batchyard.workers.serve import Call


def a_call() -> Call:
    return Call(Request(0, "r", "/v1/chat/completions", "m", b"{}"), lambda reply: None)


def written(*chunks: dict[str, Any]) -> Written:
    def handle(body: str, keep: Callable[[Any], bool]) -> None:
        for chunk in chunks:
            keep(msgspec.json.encode(chunk).decode())

    return Streams(handle, a_call()).write({})


def delta(finish: str | None = None, **parts: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "finish_reason": finish, "delta": parts}]}


def test_pieces_become_one_text() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}}
    result = written(
        delta(role="assistant", content=None),
        delta(reasoning_content="hm"),
        delta(content="a"),
        delta(content="b"),
        delta("length"),
        {"choices": [], "usage": usage},
    )
    assert (result.content, result.reasoning, result.finish_reason) == ("ab", "hm", "length")
    assert (result.usage.input_tokens, result.usage.output_tokens, result.usage.cached_tokens) == (9, 2, 4)


def test_pieces_of_tool_calls_are_put_together_by_their_place() -> None:
    result = written(
        delta(tool_calls=[{"index": 0, "id": "x", "type": "function", "function": {"name": "f", "arguments": ""}}]),
        delta(tool_calls=[{"index": 0, "function": {"arguments": '{"a":'}}]),
        delta(tool_calls=[{"index": 1, "id": "y", "function": {"name": "g", "arguments": "{}"}}]),
        delta(tool_calls=[{"index": 0, "function": {"arguments": " 1}"}}]),
        delta("tool_calls"),
    )
    assert result.tool_calls == [
        {"id": "x", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}},
        {"id": "y", "type": "function", "function": {"name": "g", "arguments": "{}"}},
    ]


def test_an_error_in_the_stream_is_a_refusal() -> None:
    error = {"code": 400, "message": "too many", "type": "exceed_context_size_error"}
    with pytest.raises(BadRequest) as caught:
        written({"error": error})
    assert msgspec.json.decode(caught.value.answer.body)["error"]["code"] == "context_length_exceeded"


def test_a_stream_stops_once_it_is_given_up() -> None:
    call = a_call()
    answers: list[bool] = []

    def handle(body: str, keep: Callable[[Any], bool]) -> None:
        answers.append(keep(msgspec.json.encode(delta(content="a")).decode()))
        call.given_up = True
        answers.append(keep(msgspec.json.encode(delta(content="b")).decode()))

    Streams(handle, call).write({})
    assert answers == [False, True]
