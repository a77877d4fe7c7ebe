"""A responses request as a chat request.

Source: the OpenAI API reference, "Create a model response" and "Create chat completion". What only a server with memory
could do (stored responses, conversations, stored prompts, built-in tools) is refused by name.
"""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias, cast

import msgspec

from batchyard.endpoint import Problem

Json: TypeAlias = dict[str, Any]

NEEDS_MEMORY = ("previous_response_id", "conversation", "prompt")

NOT_FOR_CHAT = frozenset(
    {"input", "instructions", "max_output_tokens", "text", "reasoning", "tools", "tool_choice", "top_logprobs"}
    | {
        "store",
        "include",
        "background",
        "truncation",
        "stream",
        "stream_options",
        "max_tool_calls",
        "context_management",
    }
    | set(NEEDS_MEMORY)
)
"""Keys that are translated or mean nothing to a chat; every other key is handed on as it is."""


class _Unfit(Exception):
    """The request cannot be said as a chat."""

    def __init__(self, param: str, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.problem = Problem("invalid_request", message, param, remedy)


def to_chat(body: bytes) -> bytes | Problem:
    """The chat request that asks the same, or why there is none."""
    try:
        request = _object(msgspec.json.decode(body), "")
        return msgspec.json.encode(_chat(request))
    except _Unfit as unfit:
        return unfit.problem
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        return Problem("invalid_request", f"The body cannot be read: {error}.", "", "Send a JSON object.")


def _chat(request: Json) -> Json:
    for key in NEEDS_MEMORY:
        if request.get(key) is not None:
            raise _Unfit(key, f"'{key}' needs a server that stores it.", "Put the earlier items into 'input'.")
    chat = {key: value for key, value in request.items() if key not in NOT_FOR_CHAT}
    chat["messages"] = _messages(request.get("instructions"), request.get("input"))
    _put(chat, "max_tokens", request.get("max_output_tokens"))
    _put(chat, "tools", _tools(request.get("tools")))
    _put(chat, "tool_choice", _tool_choice(request.get("tool_choice")))
    _put_text(chat, request.get("text"))
    _put_reasoning(chat, request.get("reasoning"))
    _put_logprobs(chat, request)
    return chat


def _put(chat: Json, key: str, value: object) -> None:
    if value is not None:
        chat[key] = value


# Messages


def _messages(instructions: object, given: object) -> list[Json]:
    """One message per turn: calls and reasoning join the assistant's message that they belong to."""
    messages: list[Json] = []
    if isinstance(instructions, str) and instructions:
        messages.append({"role": "system", "content": instructions})
    if isinstance(given, str):
        return [*messages, {"role": "user", "content": given}]
    for number, value in enumerate(_array(given, "input")):
        where = f"input[{number}]"
        _add(messages, _object(value, where), where)
    for message in messages:
        message.pop("open", None)
    return messages


def _add(messages: list[Json], item: Json, where: str) -> None:
    match item.get("type", "message"):
        case "message":
            _add_message(messages, item, where)
        case "function_call":
            call = {"name": item.get("name"), "arguments": item.get("arguments", "")}
            calls = _assistant(messages).setdefault("tool_calls", [])
            calls.append({"id": item.get("call_id") or item.get("id"), "type": "function", "function": call})
        case "function_call_output":
            content = _content(item.get("output", ""), f"{where}.output")
            messages.append({"role": "tool", "tool_call_id": item.get("call_id"), "content": content})
        case "reasoning":
            thought = _thought(item)
            if thought:
                messages.append({"role": "assistant", "content": None, "reasoning_content": thought, "open": True})
        case kind:
            raise _Unfit(
                f"{where}.type", f"Items of type '{kind}' need an engine with responses.", "Leave this item out."
            )


def _add_message(messages: list[Json], item: Json, where: str) -> None:
    role = item.get("role")
    if not isinstance(role, str):
        raise _Unfit(f"{where}.role", "A message needs a role.", "Add 'role': 'user', 'assistant' or 'system'.")
    content = _content(item.get("content"), f"{where}.content")
    if role == "assistant" and messages and messages[-1].pop("open", False):
        messages[-1]["content"] = content
        return
    messages.append({"role": "system" if role == "developer" else role, "content": content})


def _assistant(messages: list[Json]) -> Json:
    """The assistant's message at the end, a new one where another speaks there."""
    if not messages or messages[-1]["role"] != "assistant":
        messages.append({"role": "assistant", "content": None})
    messages[-1].pop("open", None)
    return messages[-1]


def _thought(item: Mapping[str, Any]) -> str:
    parts: list[Any] = [*(item.get("content") or []), *(item.get("summary") or [])]
    return "\n".join(str(cast("Json", part).get("text", "")) for part in parts if isinstance(part, dict))


def _content(content: object, where: str) -> str | list[Json]:
    """Content as a chat has it: one string where all is text, as every engine takes that."""
    if isinstance(content, str):
        return content
    parts = [_part(_object(part, where), where) for part in _array(content, where)]
    if all(part["type"] == "text" for part in parts):
        return "\n".join(part["text"] for part in parts)
    return parts


def _part(part: Json, where: str) -> Json:
    match part.get("type"):
        case "input_text" | "output_text" | "text":
            return {"type": "text", "text": str(part.get("text", ""))}
        case "refusal":
            return {"type": "text", "text": str(part.get("refusal", ""))}
        case "input_image" if isinstance(part.get("image_url"), str):
            image: Json = {"url": part["image_url"]}
            _put(image, "detail", part.get("detail"))
            return {"type": "image_url", "image_url": image}
        case "input_audio":
            return {"type": "input_audio", "input_audio": part.get("input_audio")}
        case "input_file" if part.get("file_data") is not None:
            return {"type": "file", "file": {"file_data": part["file_data"], "filename": part.get("filename", "file")}}
        case kind:
            raise _Unfit(
                where, f"A part of type '{kind}' cannot be said in a chat.", "Put its content into the line itself."
            )


# Settings


def _tools(tools: object) -> list[Json] | None:
    if tools is None:
        return None
    chat_tools: list[Json] = []
    for number, value in enumerate(_array(tools, "tools")):
        tool = _object(value, f"tools[{number}]")
        if tool.get("type") != "function":
            raise _Unfit(
                f"tools[{number}].type",
                f"The built-in tool '{tool.get('type')}' is not there.",
                "Describe it as a function.",
            )
        function = {key: part for key, part in tool.items() if key != "type" and part is not None}
        chat_tools.append({"type": "function", "function": function})
    return chat_tools or None


def _tool_choice(choice: object) -> object:
    if choice is None or isinstance(choice, str):
        return choice
    named = _object(choice, "tool_choice")
    if named.get("type") != "function":
        raise _Unfit("tool_choice", f"A choice of type '{named.get('type')}' cannot be said in a chat.")
    return {"type": "function", "function": {"name": named.get("name")}}


def _put_text(chat: Json, text: object) -> None:
    if text is None:
        return
    settings = _object(text, "text")
    _put(chat, "verbosity", settings.get("verbosity"))
    form = settings.get("format")
    if form is None:
        return
    named = _object(form, "text.format")
    match named.get("type"):
        case "text":
            pass
        case "json_object":
            chat["response_format"] = {"type": "json_object"}
        case "json_schema":
            schema = {key: part for key, part in named.items() if key != "type" and part is not None}
            chat["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", **schema}}
        case kind:
            raise _Unfit(
                "text.format.type", f"The format '{kind}' is not known.", "Use text, json_object or json_schema."
            )


def _put_reasoning(chat: Json, reasoning: object) -> None:
    if reasoning is not None:
        _put(chat, "reasoning_effort", _object(reasoning, "reasoning").get("effort"))


def _put_logprobs(chat: Json, request: Json) -> None:
    wanted: Iterable[Any] = request.get("include") or ()
    if "message.output_text.logprobs" in wanted:
        chat["logprobs"] = True
        _put(chat, "top_logprobs", request.get("top_logprobs"))


def _object(value: object, where: str) -> Json:
    if not isinstance(value, dict):
        raise _Unfit(where, f"'{where or 'body'}' must be an object.")
    return cast("Json", value)


def _array(value: object, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise _Unfit(where, f"'{where}' must be an array.")
    return cast("list[Any]", value)
