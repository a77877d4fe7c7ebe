"""A streamed chat told as a response: the events, added up, are the response that the whole chat would have been."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.endpoints.responses import AS_CHAT, from_chat

REQUEST = msgspec.json.encode({"model": "m", "input": "hi"})
HEAD = {"id": "chatcmpl-7", "created": 5, "model": "m"}
USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
Event = dict[str, Any]


def chunk(why: str | None = None, **delta: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": why}
    return msgspec.json.encode({**HEAD, "choices": [choice]})


def told(*chunks: bytes) -> list[Event]:
    assert AS_CHAT.retell is not None
    telling = AS_CHAT.retell(REQUEST)
    events = [event for one in chunks for event in telling.tell(one)]
    return [msgspec.json.decode(event) for event in [*events, *telling.end()]]


def whole(message: dict[str, Any], why: str = "stop") -> Event:
    choice = {"index": 0, "message": message, "finish_reason": why, "logprobs": None}
    return msgspec.json.decode(from_chat(msgspec.json.encode({**HEAD, "choices": [choice], "usage": USAGE}), REQUEST))


LAST = msgspec.json.encode({**HEAD, "choices": [], "usage": USAGE})
PARTS = st.lists(st.text("ab ü", min_size=1, max_size=3), max_size=4)


@given(PARTS, PARTS, st.lists(PARTS, max_size=2), st.sampled_from(["stop", "length", "tool_calls"]))
def test_the_end_is_what_the_whole_answer_would_have_been(
    thoughts: list[str], texts: list[str], calls: list[list[str]], why: str
) -> None:
    chunks = [
        chunk(role="assistant"),
        *(chunk(reasoning_content=t) for t in thoughts),
        *(chunk(content=t) for t in texts),
    ]
    for number, parts in enumerate(calls):
        named = {"index": number, "id": f"c{number}", "function": {"name": "f", "arguments": ""}}
        pieces = [named, *({"index": number, "function": {"arguments": part}} for part in parts)]
        chunks += [chunk(tool_calls=[piece]) for piece in pieces]
    events = told(*chunks, chunk(why), LAST)
    message: dict[str, Any] = {"content": "".join(texts)}
    if thoughts:
        message["reasoning_content"] = "".join(thoughts)
    if calls:
        functions = [{"name": "f", "arguments": "".join(parts)} for parts in calls]
        message["tool_calls"] = [{"id": f"c{n}", "function": f} for n, f in enumerate(functions)]
    assert events[-1]["response"] == whole(message, why)
    assert events[-1]["type"] == ("response.incomplete" if why == "length" else "response.completed")
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    _check_items(events)


def _check_items(events: list[Event]) -> None:
    """Each item opens once, is filled by its deltas, and closes as the response has it."""
    output = events[-1]["response"]["output"]
    added = [event["item"]["id"] for event in events if event["type"] == "response.output_item.added"]
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert [item["id"] for item in output] == added and done == output
    for index, item in enumerate(output):
        mine = [event for event in events if event.get("output_index") == index and "delta" in event]
        text = "".join(event["delta"] for event in mine)
        content = item.get("content") or [{"text": ""}]
        assert text == (item["arguments"] if item["type"] == "function_call" else content[0]["text"])


def test_calls_that_leave_out_a_number_are_no_chat() -> None:
    with pytest.raises(ValueError, match="number 0"):
        told(chunk(tool_calls=[{"index": 1, "function": {"name": "f"}}]))
