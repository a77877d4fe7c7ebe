"""What an engine answered, as a GenerateContentResponse."""

from typing import Any, cast

import msgspec

from batchyard.dialects.gemini.generate import Manner
from batchyard.dialects.gemini.spelling import Json

FINISH = {
    "stop": "STOP",
    "tool_calls": "STOP",
    "function_call": "STOP",
    "length": "MAX_TOKENS",
    "content_filter": "SAFETY",
}

NO_IMAGE = "NO_IMAGE"
"""Why an answer ended that should have had a picture, and has none."""


def from_chat(answer: Json, model: str, manner: Manner) -> Json:
    """A chat completion as a response. Raises ValueError where it is not one."""
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices:
        raise ValueError("the answer has no choices")
    usage = _object(answer.get("usage") or {})
    return {
        "candidates": [_candidate(_object(choice), n, manner) for n, choice in enumerate(cast("list[Any]", choices))],
        "usageMetadata": usage_metadata(usage),
        "modelVersion": model,
        "responseId": str(answer.get("id") or ""),
    }


def from_pictures(answer: Json, model: str, response_id: str) -> Json:
    """Pictures that were made, as a response. Raises ValueError where there is no list of them."""
    data = answer.get("data")
    if not isinstance(data, list):
        raise ValueError("the answer has no pictures")
    pictures = [_object(each) for each in cast("list[Any]", data)]
    mime = f"image/{answer.get('output_format') or 'png'}"
    choices: dict[int, list[Json]] = {}
    for place, each in enumerate(pictures):
        if each.get("b64_json"):
            choices.setdefault(each.get("index", place), []).extend(_picture(each, mime))
    return {
        "candidates": [_drawn(parts, index) for index, parts in choices.items()] or [_undrawn(answer.get("text"))],
        "usageMetadata": usage_metadata(_object(answer.get("usage") or {}), "IMAGE"),
        "modelVersion": model,
        "responseId": response_id,
    }


def usage_metadata(usage: Json, made: str = "TEXT") -> Json:
    """Tokens as Gemini counts them: thoughts apart, and in the total."""
    prompt = _count(usage, "prompt_tokens", "input_tokens")
    out = _count(usage, "completion_tokens", "output_tokens")
    thoughts = _detail(usage, ("completion_tokens_details", "output_tokens_details"), "reasoning_tokens")
    cached = _detail(usage, ("prompt_tokens_details", "input_tokens_details"), "cached_tokens")
    said: Json = {
        "promptTokenCount": prompt,
        "candidatesTokenCount": max(0, out - thoughts),
        "totalTokenCount": prompt + max(out, thoughts),
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": prompt}],
    }
    if out > thoughts:
        said["candidatesTokensDetails"] = [{"modality": made, "tokenCount": out - thoughts}]
    if thoughts:
        said["thoughtsTokenCount"] = thoughts
    if cached:
        said["cachedContentTokenCount"] = cached
    return said


def finish_reason(said: object) -> str:
    return FINISH.get(str(said), "OTHER")


def call_part(call: Json) -> Json | None:
    """A call of a function as a part; None where its arguments are not a JSON object."""
    function = _object(call.get("function") or {})
    try:
        arguments = msgspec.json.decode(function.get("arguments") or "{}")
    except (msgspec.DecodeError, RecursionError):
        return None
    if not isinstance(arguments, dict):
        return None
    made: Json = {"name": function.get("name") or "", "args": arguments}
    if call.get("id"):
        made = {"id": call["id"], **made}
    return {"functionCall": made}


def _candidate(choice: Json, number: int, manner: Manner) -> Json:
    message = _object(choice.get("message") or {})
    parts, reason = _parts(message, manner), finish_reason(choice.get("finish_reason"))
    for call in cast("list[Any]", message.get("tool_calls") or []):
        part = call_part(_object(call))
        if part is None:
            reason = "MALFORMED_FUNCTION_CALL"
        else:
            parts.append(part)
    if manner.pictures and reason == "STOP" and not any("inlineData" in part for part in parts):
        reason = NO_IMAGE
    candidate: Json = {
        "content": {"role": "model", "parts": parts or [{"text": ""}]},
        "finishReason": reason,
        "index": choice.get("index", number),
    }
    return candidate | logprobs(choice.get("logprobs"))


def _parts(message: Json, manner: Manner) -> list[Json]:
    parts: list[Json] = []
    thought = message.get("reasoning_content") or message.get("reasoning")
    if manner.thoughts and isinstance(thought, str) and thought:
        parts.append({"text": thought, "thought": True})
    content = message.get("content") or message.get("refusal")
    if isinstance(content, str) and content:
        parts.append({"text": unquoted(content) if manner.bare else content})
    elif isinstance(content, list):
        parts += [made for each in cast("list[Any]", content) if (made := shown(_object(each)))]
    for image in cast("list[Any]", message.get("images") or []):
        made = shown(_object(image))
        if made:
            parts.append(made)
    return parts


def shown(part: Json) -> Json | None:
    """A part of a chat's answer, which may be a picture as a data URL."""
    if part.get("type") == "text":
        return {"text": part.get("text", "")}
    url = str(_object(part.get("image_url") or {}).get("url", ""))
    head, _, data = url.partition(";base64,")
    return {"inlineData": {"mimeType": head.removeprefix("data:"), "data": data}} if data else None


def unquoted(content: str) -> str:
    """The value of an enum, which engines write as a JSON string."""
    try:
        value = msgspec.json.decode(content)
    except msgspec.DecodeError:
        return content
    return value if isinstance(value, str) else content


def _picture(made: Json, mime: str) -> list[Json]:
    """A picture's parts: what was said with it, and itself."""
    said = made.get("text") or made.get("revised_prompt")
    shown: Json = {"inlineData": {"mimeType": mime, "data": made["b64_json"]}}
    return [{"text": said}, shown] if said else [shown]


def _drawn(parts: list[Json], index: int) -> Json:
    return {"content": {"role": "model", "parts": parts}, "finishReason": "STOP", "index": index}


def _undrawn(said: object) -> Json:
    """A candidate without a picture, with what the model said instead, if anything."""
    candidate: Json = {"index": 0, "finishReason": NO_IMAGE}
    return candidate | ({"content": {"role": "model", "parts": [{"text": said}]}} if said else {})


def logprobs(given: object) -> Json:
    """How probable the tokens of a choice were, where it says so."""
    content = cast("list[Any]", _object(given or {}).get("content") or [])
    if not content:
        return {}
    tokens = [_object(each) for each in content]
    chosen = [_token(each) for each in tokens]
    top = [{"candidates": _top(token)} for token in tokens]
    return {
        "avgLogprobs": sum(each["logProbability"] for each in chosen) / len(chosen),
        "logprobsResult": {"topCandidates": top, "chosenCandidates": chosen},
    }


def _top(token: Json) -> list[Json]:
    return [_token(_object(each)) for each in cast("list[Any]", token.get("top_logprobs") or [])]


def _token(token: Json) -> Json:
    return {"token": token.get("token", ""), "logProbability": token.get("logprob", 0.0)}


def _count(usage: Json, *names: str) -> int:
    return next((usage[name] for name in names if isinstance(usage.get(name), int)), 0)


def _detail(usage: Json, groups: tuple[str, ...], name: str) -> int:
    return next((_count(_object(usage[group]), name) for group in groups if usage.get(group)), 0)


def _object(value: object) -> Json:
    if not isinstance(value, dict):
        raise ValueError("the answer has another shape")
    return cast("Json", value)
