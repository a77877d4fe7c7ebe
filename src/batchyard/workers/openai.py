"""OpenAI's shapes, as a model's worker needs them: reading bodies, refusing them, and writing answers.

Source: https://platform.openai.com/docs/api-reference (chat, completions, embeddings) and vLLM's online serving for
score and rerank, https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html
"""

import secrets
from typing import Any, cast

import msgspec

from batchyard.clock import SystemClock
from batchyard.domain.result import Answer, Usage

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
EMBEDDINGS = "/v1/embeddings"
SCORE = "/v1/score"
RERANK = "/v1/rerank"
IMAGES = "/v1/images/generations"

Body = dict[str, Any]
"""A JSON object."""

MOST_CHOICES = 128
"""OpenAI's own limit on `n`."""


class BadRequest(Exception):
    """A request that this model refuses; carries the answer that says so. It never leaves the worker."""

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.answer = error_answer(status, message, param=param, code=code)


def error_answer(status: int, message: str, *, param: str | None = None, code: str | None = None) -> Answer:
    """An answer in OpenAI's error envelope."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    error = {"message": message, "type": kind, "param": param, "code": code}
    return Answer(status, msgspec.json.encode({"error": error}))


def too_long(tokens: int, context: int) -> BadRequest:
    """The refusal of a prompt that does not fit."""
    return BadRequest(
        f"This model's context holds {context} tokens; the prompt has {tokens}.",
        param="messages",
        code="context_length_exceeded",
    )


def read_body(body: bytes) -> Body:
    """A body as a JSON object, without what a batch must not have. Raises BadRequest."""
    try:
        read = msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise BadRequest(f"The body is not a JSON object: {error}") from error
    read.pop("stream", None)
    read.pop("stream_options", None)
    return read


def choices_wanted(body: Body) -> int:
    """`n`, checked. Raises BadRequest."""
    wanted = body.get("n")
    if wanted is None:
        return 1
    if not _is_count(wanted) or not 1 <= wanted <= MOST_CHOICES:
        raise BadRequest(f"`n` must be a whole number from 1 to {MOST_CHOICES}.", param="n")
    return wanted


def most_tokens(body: Body) -> int | None:
    """How many tokens the answer may have, in any of its spellings; None for as many as fit. Raises BadRequest."""
    for name in ("max_completion_tokens", "max_tokens"):
        limit = body.get(name)
        if limit is None:
            continue
        if not _is_count(limit) or limit < 1:
            raise BadRequest(f"`{name}` must be a whole number, at least 1.", param=name)
        return limit
    return None


def seed_of(body: Body) -> int | None:
    """The request's seed as a number of 31 bits, which every engine takes. Raises BadRequest."""
    seed = body.get("seed")
    if seed is None:
        return None
    if not _is_count(seed):
        raise BadRequest("`seed` must be a whole number.", param="seed")
    return seed & 0x7FFFFFFF


def wanted_schema(body: Body) -> Body | bool | None:
    """The JSON schema that the answer must follow: `{}` for any JSON object, None for free text. Raises BadRequest.

    Beside `response_format`, vLLM's `structured_outputs: {"json": ...}` and `guided_json` are understood; its other
    forms are refused rather than ignored.
    """
    form = body.get("response_format")
    if form is not None:
        return _schema_of_format(form)
    structured = body.get("structured_outputs")
    if isinstance(structured, dict):
        others = set(cast("Body", structured)) - {"json"}
        if others:
            raise BadRequest(f"`structured_outputs.{min(others)}` is not supported.", param="structured_outputs")
        return _schema(cast("Body", structured).get("json"), "structured_outputs.json")
    for name in ("guided_regex", "guided_choice", "guided_grammar"):
        if body.get(name) is not None:
            raise BadRequest(f"`{name}` is not supported.", param=name)
    guided = body.get("guided_json")
    return None if guided is None else _schema(guided, "guided_json")


def _schema_of_format(form: object) -> Body | bool | None:
    kind = cast("Body", form).get("type") if isinstance(form, dict) else None
    match kind:
        case "text":
            return None
        case "json_object":
            return {"type": "object"}
        case "json_schema":
            wrapped = cast("Body", form).get("json_schema")
            if not isinstance(wrapped, dict) or "schema" not in wrapped:
                raise BadRequest("A JSON schema is missing.", param="response_format.json_schema.schema")
            return _schema(cast("Body", wrapped)["schema"], "response_format.json_schema.schema")
        case _:
            raise BadRequest(
                "`response_format.type` must be text, json_object or json_schema.", param="response_format.type"
            )


def _schema(schema: object, param: str) -> Body | bool:
    if isinstance(schema, str):
        try:
            schema = msgspec.json.decode(schema)
        except msgspec.DecodeError as error:
            raise BadRequest(f"The JSON schema is not JSON: {error}", param=param) from error
    if not isinstance(schema, dict | bool):
        raise BadRequest("A JSON schema must be an object.", param=param)
    return cast("Body | bool", schema)


def checked_messages(body: Body, *, sees_images: bool) -> list[Body]:
    """The messages of a chat. Raises BadRequest where one is malformed or shows what this model cannot see.

    A chat whose answer shall be a picture is refused, too.
    """
    modalities = body.get("modalities")
    if isinstance(modalities, list) and "image" in modalities:
        raise BadRequest("This model makes no pictures.", param="modalities", code="pictures_unsupported")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadRequest("`messages` must be a list with at least one message.", param="messages")
    for place, message in enumerate(cast("list[object]", messages)):
        where = f"messages[{place}]"
        if not isinstance(message, dict) or not isinstance(cast("Body", message).get("role"), str):
            raise BadRequest("A message must be an object with a `role`.", param=where)
        content = cast("Body", message).get("content")
        if isinstance(content, list):
            _check_parts(cast("list[object]", content), f"{where}.content", sees_images)
        elif content is not None and not isinstance(content, str):
            raise BadRequest("`content` must be a string or a list of parts.", param=f"{where}.content")
    return cast("list[Body]", messages)


def _check_parts(parts: list[object], where: str, sees_images: bool) -> None:
    for place, part in enumerate(parts):
        param = f"{where}[{place}]"
        kind = cast("Body", part).get("type") if isinstance(part, dict) else None
        if kind == "text" and isinstance(cast("Body", part).get("text"), str):
            continue
        if kind != "image_url":
            raise BadRequest("A part must be `text` or `image_url`; this model takes no other.", param=param)
        if not sees_images:
            raise BadRequest("This model does not see images.", param=param, code="images_unsupported")
        _check_image(cast("Body", part).get("image_url"), f"{param}.image_url")


def _check_image(image: object, param: str) -> None:
    url = cast("Body", image).get("url") if isinstance(image, dict) else image
    if not isinstance(url, str) or not url.startswith("data:"):
        raise BadRequest(
            "An image must be a data: URL (data:image/png;base64,...); nothing is fetched from elsewhere.",
            param=param,
            code="invalid_image_url",
        )


def answer_of(kind: str, model: str, content: Body, usage: Usage, *, prefix: str) -> Answer:
    """A successful answer: an object of the given kind with its own id, time, model and usage."""
    request_id = f"{prefix}-{secrets.token_hex(16)}"
    body: Body = {"id": request_id, "object": kind, "created": int(SystemClock().now()), "model": model, **content}
    body["usage"] = written_usage(usage)
    return Answer(200, msgspec.json.encode(body), request_id, usage)


def written_usage(usage: Usage) -> Body:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }


def legacy_logprobs(tokens: list[Body], at: int = 0) -> Body:
    """Log probabilities of a text completion, from those of a chat: four lists side by side.

    `at` is the place of the first token in the text.
    """
    texts = [str(token["token"]) for token in tokens]
    offsets: list[int] = []
    for text in texts:
        offsets.append(at)
        at += len(text)
    tops = [_by_token(cast("list[Body]", token.get("top_logprobs") or [])) for token in tokens]
    return {
        "tokens": texts,
        "token_logprobs": [token["logprob"] for token in tokens],
        "top_logprobs": tops if any(tops) else None,
        "text_offset": offsets,
    }


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _by_token(alternatives: list[Body]) -> Body:
    return {str(one["token"]): one["logprob"] for one in alternatives}


def prompts_of(body: Body) -> list[str | list[int]]:
    """The prompts of a text completion, each a text or token ids. Raises BadRequest."""
    for name in ("suffix", "best_of"):
        if body.get(name) not in (None, "", 1, body.get("n")):
            raise BadRequest(f"`{name}` is not supported.", param=name)
    return texts_of(body.get("prompt"), "prompt")


def texts_of(given: object, param: str) -> list[str | list[int]]:
    """One or several texts, each a string or token ids. Raises BadRequest."""
    listed = cast("list[object]", given) if isinstance(given, list) else None
    if isinstance(given, str):
        return [given]
    if not listed:
        raise BadRequest(f"`{param}` must be a text, token ids, or a list of these.", param=param)
    if all(_is_count(token) for token in listed):
        return [cast("list[int]", listed)]
    for place, one in enumerate(listed):
        ids = cast("list[object]", one) if isinstance(one, list) else []
        if not isinstance(one, str) and not (ids and all(_is_count(token) for token in ids)):
            raise BadRequest("Each must be a text or a list of token ids.", param=f"{param}[{place}]")
    return cast("list[str | list[int]]", listed)
