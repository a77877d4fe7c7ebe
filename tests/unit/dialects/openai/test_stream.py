"""An answer told as a stream: a finished one, or one that comes in pieces."""

from typing import Any

import msgspec
import pytest

from batchyard.dialects.openai.stream import stream, telling

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


def events(*told: bytes) -> list[Any]:
    data = [line.removeprefix(b"data: ") for line in b"".join(told).split(b"\n") if line.startswith(b"data: ")]
    return [one.decode() if one == b"[DONE]" else msgspec.json.decode(one) for one in data]


def a_chunk(text: str, **fields: object) -> bytes:
    return msgspec.json.encode({"choices": [{"index": 0, "delta": {"content": text}}], **fields})


def test_all_pieces_have_the_first_ones_id() -> None:
    telling_ = telling(CHAT, include_usage=False)
    first = telling_.tell(a_chunk("a", id="x", created=1, model="m"))
    second = telling_.tell(a_chunk("b", id="y", created=2, model="n", service_tier="t"))
    a, b = events(first, second)
    assert (a["id"], a["created"], a["model"]) == (b["id"], b["created"], b["model"]) == ("x", 1, "m")
    assert b["service_tier"] == "t"


@pytest.mark.parametrize("alone", [True, False])
def test_the_usage_of_a_piece_waits_for_the_end(alone: bool) -> None:
    usage = {"total_tokens": 7}
    last = msgspec.json.encode({"choices": [], "usage": usage}) if alone else a_chunk("b", usage=usage)
    with_usage = telling(CHAT, include_usage=True)
    told = events(with_usage.tell(a_chunk("a")), with_usage.tell(last), with_usage.end())
    assert [one if isinstance(one, str) else one["usage"] for one in told] == [None] * (len(told) - 2) + [
        usage,
        "[DONE]",
    ]
    without = telling(CHAT, include_usage=False)
    assert b"usage" not in without.tell(a_chunk("a")) + without.tell(last) + without.end()


def test_a_piece_without_choices_that_is_no_usage_is_told() -> None:
    filtered = {"choices": [], "prompt_filter_results": [{"prompt_index": 0}]}
    assert events(telling(CHAT, include_usage=False).tell(msgspec.json.encode(filtered))) == [filtered]


def test_an_error_of_a_response_goes_on_with_its_numbers() -> None:
    telling_ = telling("/v1/responses", include_usage=False)
    telling_.tell(b'{"type":"response.created","sequence_number":4}')
    error = {"message": "no", "type": "server_error", "param": None, "code": "odd"}
    (told,) = events(telling_.break_off(msgspec.json.encode({"error": error})))
    assert (told["type"], told["sequence_number"], told["code"], told["error"]) == ("error", 5, "odd", error)
