"""A chat answer as a response object. Source: the OpenAI API reference, "The response object"."""

from typing import Any, cast

import msgspec

from batchyard.endpoints._responses_in import Json

ECHOED: Json = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "temperature": 1.0,
    "top_p": 1.0,
    "tool_choice": "auto",
    "tools": [],
    "truncation": "disabled",
    "metadata": {},
    "user": None,
}
"""What a response repeats of its request, with what stands where the request is silent."""


def from_chat(answer_body: bytes, request_body: bytes) -> bytes:
    """The response object that says what the chat answer says.

    Raises msgspec.DecodeError or ValueError where the answer is not a chat completion.
    """
    answer = _object(msgspec.json.decode(answer_body))
    request = _object(msgspec.json.decode(request_body))
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices:
        raise ValueError("the answer has no choices")
    choice = _object(cast("list[Any]", choices)[0])
    name = str(answer.get("id") or "0").removeprefix("chatcmpl-")
    why = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(str(choice.get("finish_reason")))
    response: Json = {
        "id": f"resp_{name}",
        "object": "response",
        "created_at": answer.get("created") or 0,
        "status": "incomplete" if why else "completed",
        "error": None,
        "incomplete_details": {"reason": why} if why else None,
        "model": answer.get("model") or request.get("model"),
        "output": _output(choice, name, "incomplete" if why else "completed"),
        **{key: silent if request.get(key) is None else request[key] for key, silent in ECHOED.items()},
        "reasoning": request.get("reasoning") or {"effort": None, "summary": None},
        "text": request.get("text") or {"format": {"type": "text"}},
        "store": False,
        "background": False,
        "service_tier": answer.get("service_tier"),
        "usage": _usage(answer.get("usage")),
    }
    return msgspec.json.encode(response)


def _output(choice: Json, name: str, status: str) -> list[Json]:
    """The items of a choice, in the order in which they were thought: reasoning, words, calls."""
    message = _object(choice.get("message"))
    items: list[Json] = []
    thought = message.get("reasoning_content") or message.get("reasoning")
    if isinstance(thought, str):
        content = [{"type": "reasoning_text", "text": thought}]
        items.append({"type": "reasoning", "id": f"rs_{name}", "summary": [], "content": content})
    parts = _parts(message, choice)
    calls = cast("list[Any]", message.get("tool_calls") or [])
    if parts or not calls:
        item = {"type": "message", "id": f"msg_{name}", "status": status, "role": "assistant", "content": parts}
        items.append(item)
    items += [_call(_object(call), f"fc_{name}_{number}", status) for number, call in enumerate(calls)]
    return items


def _parts(message: Json, choice: Json) -> list[Json]:
    parts: list[Json] = []
    if message.get("content"):
        logprobs: list[Any] = cast("Json", choice.get("logprobs") or {}).get("content") or []
        text: Json = {"type": "output_text", "text": message["content"], "annotations": [], "logprobs": logprobs}
        parts.append(text)
    if message.get("refusal"):
        parts.append({"type": "refusal", "refusal": message["refusal"]})
    return parts


def _call(call: Json, name: str, status: str) -> Json:
    function = _object(call.get("function"))
    return {
        "type": "function_call",
        "id": name,
        "call_id": call.get("id") or name,
        "name": function.get("name"),
        "arguments": function.get("arguments") or "",
        "status": status,
    }


def _usage(usage: object) -> Json | None:
    if not isinstance(usage, dict):
        return None
    chat = cast("Json", usage)
    given, made = chat.get("prompt_tokens") or 0, chat.get("completion_tokens") or 0
    return {
        "input_tokens": given,
        "input_tokens_details": {
            "cached_tokens": _detail(chat, "prompt_tokens_details", "cached_tokens"),
            "cache_write_tokens": 0,
        },
        "output_tokens": made,
        "output_tokens_details": {"reasoning_tokens": _detail(chat, "completion_tokens_details", "reasoning_tokens")},
        "total_tokens": chat.get("total_tokens") or given + made,
    }


def _detail(usage: Json, group: str, key: str) -> int:
    details = usage.get(group)
    return (cast("Json", details).get(key) or 0) if isinstance(details, dict) else 0


def _object(value: object) -> Json:
    if not isinstance(value, dict):
        raise ValueError("the answer is not a chat completion")
    return cast("Json", value)
