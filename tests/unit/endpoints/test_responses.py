"""A responses request said as a chat, and a chat's answer said as a response."""

import json
from typing import Any

import pytest

from batchyard.endpoint import Problem
from batchyard.endpoints.responses import from_chat, to_chat


def chat_of(**request: Any) -> dict[str, Any]:
    body = to_chat(json.dumps({"model": "m", "input": "hi", **request}).encode())
    assert isinstance(body, bytes), body
    return json.loads(body)


def messages_of(*items: dict[str, Any]) -> list[dict[str, Any]]:
    return chat_of(input=list(items))["messages"]


def response_of(message: dict[str, Any], request: dict[str, Any] | None = None, **choice: Any) -> dict[str, Any]:
    answer = {
        "id": "chatcmpl-7",
        "object": "chat.completion",
        "created": 1790000000,
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop", **choice}],
        "usage": {
            "prompt_tokens": 14,
            "completion_tokens": 2,
            "total_tokens": 16,
            "prompt_tokens_details": {"cached_tokens": 8},
            "completion_tokens_details": {"reasoning_tokens": 1},
        },
    }
    return json.loads(from_chat(json.dumps(answer).encode(), json.dumps(request or {"input": "hi"}).encode()))


def test_a_string_becomes_a_user_message_after_the_instructions() -> None:
    assert chat_of(instructions="Be short.") == {
        "model": "m",
        "messages": [{"role": "system", "content": "Be short."}, {"role": "user", "content": "hi"}],
    }


def test_settings_take_their_names_in_a_chat() -> None:
    chat = chat_of(max_output_tokens=5, temperature=0, top_p=0.5, seed=3, reasoning={"effort": "low"}, store=True)
    del chat["messages"]
    assert chat == {
        "model": "m",
        "max_tokens": 5,
        "temperature": 0,
        "top_p": 0.5,
        "seed": 3,
        "reasoning_effort": "low",
    }


def test_a_schema_becomes_a_response_format() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    form = {"type": "json_schema", "name": "n", "schema": schema, "strict": True}
    assert chat_of(text={"format": form})["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "n", "schema": schema, "strict": True},
    }
    assert chat_of(text={"format": {"type": "json_object"}})["response_format"] == {"type": "json_object"}
    assert "response_format" not in chat_of(text={"format": {"type": "text"}})


def test_functions_and_the_choice_of_one_are_nested_as_chats_have_them() -> None:
    tool = {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True}
    chat = chat_of(tools=[tool], tool_choice={"type": "function", "name": "f"}, parallel_tool_calls=False)
    named = {key: value for key, value in tool.items() if key != "type"}
    assert chat["tools"] == [{"type": "function", "function": named}]
    assert chat["tool_choice"] == {"type": "function", "function": {"name": "f"}}
    assert chat["parallel_tool_calls"] is False


def test_parts_of_text_become_one_string_and_images_stay_parts() -> None:
    text = {"type": "input_text", "text": "What is it?"}
    image = {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low"}
    assert messages_of({"role": "developer", "content": [text]}) == [{"role": "system", "content": "What is it?"}]
    assert messages_of({"type": "message", "role": "user", "content": [text, image]}) == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is it?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}},
            ],
        }
    ]


def test_calls_join_one_assistant_message_and_outputs_become_tool_messages() -> None:
    first = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
    second = {"type": "function_call", "call_id": "c2", "name": "g", "arguments": '{"a":1}'}
    output = {"type": "function_call_output", "call_id": "c1", "output": "4"}
    assert messages_of({"role": "user", "content": "hi"}, first, second, output) == [
        {"role": "user", "content": "hi"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                {"id": "c2", "type": "function", "function": {"name": "g", "arguments": '{"a":1}'}},
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "4"},
    ]


def test_reasoning_goes_with_the_words_or_the_call_behind_it() -> None:
    thought = {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "so"}]}
    words = {"role": "assistant", "content": [{"type": "output_text", "text": "Icy"}]}
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    [spoken] = messages_of(thought, words)
    [called] = messages_of(thought, call)
    assert spoken == {"role": "assistant", "content": "Icy", "reasoning_content": "so"}
    assert called["reasoning_content"] == "so" and len(called["tool_calls"]) == 1


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]}, "input[0].content"),
        ({"input": [5]}, "input[0]"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
    ],
)
def test_what_a_chat_cannot_say_is_refused_by_name(request_: dict[str, Any], param: str) -> None:
    problem = to_chat(json.dumps({"model": "m", "input": "hi", **request_}).encode())
    assert isinstance(problem, Problem)
    assert problem.param == param and problem.message


def test_an_answer_becomes_a_response_with_its_usage() -> None:
    response = response_of({"role": "assistant", "content": "Icy"}, {"input": "hi", "temperature": 0.25})
    assert response["object"] == "response" and response["status"] == "completed"
    assert response["output"] == [
        {
            "type": "message",
            "id": "msg_7",
            "status": "completed",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Icy", "annotations": [], "logprobs": []}],
        }
    ]
    assert response["usage"] == {
        "input_tokens": 14,
        "input_tokens_details": {"cached_tokens": 8, "cache_write_tokens": 0},
        "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 1},
        "total_tokens": 16,
    }
    assert response["temperature"] == 0.25 and response["created_at"] == 1790000000


def test_a_cut_answer_is_incomplete() -> None:
    response = response_of({"role": "assistant", "content": "Ic"}, finish_reason="length")
    assert response["status"] == "incomplete"
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}


def test_reasoning_comes_before_calls_and_both_are_items() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "reasoning_content": "so", "tool_calls": [call]}
    thought, called = response_of(message, finish_reason="tool_calls")["output"]
    assert thought["content"] == [{"type": "reasoning_text", "text": "so"}]
    assert {key: called[key] for key in ("type", "call_id", "name", "arguments")} == {
        "type": "function_call",
        "call_id": "c1",
        "name": "f",
        "arguments": "{}",
    }


def test_calls_go_there_and_back() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    output = response_of({"role": "assistant", "content": None, "tool_calls": [call]})["output"]
    assert messages_of(*output)[0]["tool_calls"] == [call]


@pytest.mark.parametrize("answer", [b"[]", b'{"choices":[]}', b"nonsense", b'{"choices":[5]}'])
def test_what_is_no_chat_answer_raises(answer: bytes) -> None:
    import msgspec

    with pytest.raises((ValueError, msgspec.DecodeError)):
        from_chat(answer, b"{}")
