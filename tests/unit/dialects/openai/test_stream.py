"""A finished answer told as a stream."""

from typing import Any

import msgspec

from batchyard.dialects.openai.stream import stream

CHAT = "/v1/chat/completions"


def told(answer: dict[str, Any], *, include_usage: bool = False) -> list[dict[str, Any]]:
    events = stream(CHAT, msgspec.json.encode(answer), include_usage=include_usage).split(b"\n\n")
    assert events[-2:] == [b"data: [DONE]", b""]
    return [msgspec.json.decode(event.removeprefix(b"data: ")) for event in events[:-2]]


def test_tool_calls_are_numbered() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    choice = {"index": 0, "finish_reason": "tool_calls", "message": {"content": None, "tool_calls": [call, call]}}
    chunks = told({"id": "x", "object": "chat.completion", "choices": [choice]})
    assert [c["index"] for c in chunks[1]["choices"][0]["delta"]["tool_calls"]] == [0, 1]
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}


def test_every_choice_is_told_under_its_index() -> None:
    choices = [{"index": i, "message": {"role": "assistant", "content": f"t{i}"}} for i in range(3)]
    chunks = told({"choices": choices})
    texts = dict.fromkeys(range(3), "")
    for chunk in chunks:
        for choice in chunk["choices"]:
            texts[choice["index"]] += choice["delta"].get("content", "")
    assert texts == {0: "t0", 1: "t1", 2: "t2"}


def test_usage_is_told_last_and_only_when_asked_for() -> None:
    answer = {"choices": [{"message": {"content": "a"}}], "usage": {"total_tokens": 2}}
    assert all("usage" not in chunk for chunk in told(answer))
    with_usage = told(answer, include_usage=True)
    assert [chunk["usage"] for chunk in with_usage[:-1]] == [None] * (len(with_usage) - 1)
    assert with_usage[-1] == {"choices": [], "usage": {"total_tokens": 2}}
