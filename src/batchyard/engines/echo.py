"""The echo engine: answers at once, with what it was asked, or as a script says. For tests, benches and dry runs.

A stream of it is told word by word.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any, cast

import msgspec
from msgspec import Struct

from batchyard.domain.request import Request
from batchyard.domain.result import Answer, Reply, Usage
from batchyard.engine import Abilities, Engine, Say

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
EMBEDDINGS = "/v1/embeddings"

Script = Callable[[Request], Awaitable[Reply | None]]
"""What to answer instead; None for the plain echo."""

Telling = Callable[[Request, Say], Awaitable[Reply | None]]
"""How to tell a stream instead; None for the plain echo."""

_WORDS = re.compile(r"\s*\S+|\s+\Z")


class Config(Struct, frozen=True, kw_only=True):
    """`models` None answers to any name; `delay_seconds` before each answer; `slots` as an engine would report it.

    `telling` is asked for streams, and `script` where there is none.
    """

    models: frozenset[str] | None = None
    delay_seconds: float = 0.0
    slots: int | None = None
    script: Script | None = None
    telling: Telling | None = None


def open(config: Config) -> Engine:
    return EchoEngine(config)


class EchoEngine:
    """Says back the last user message; an embedding is the length of the text."""

    restarts = 0

    def __init__(self, config: Config) -> None:
        self._config = config

    async def start(self) -> Abilities:
        return Abilities(
            endpoints=frozenset({CHAT, COMPLETIONS, EMBEDDINGS}),
            models=self._config.models,
            slots=self._config.slots,
            description="echo",
        )

    async def infer(self, request: Request) -> Reply:
        if self._config.delay_seconds:
            await asyncio.sleep(self._config.delay_seconds)
        if self._config.script is not None:
            reply = await self._config.script(request)
            if reply is not None:
                return reply
        return _echo(request)

    async def stream(self, request: Request, say: Say) -> Reply:
        """The same answer, word by word; what a script says instead comes whole."""
        if self._config.delay_seconds:
            await asyncio.sleep(self._config.delay_seconds)
        told = None
        if self._config.telling is not None:
            told = await self._config.telling(request, say)
        elif self._config.script is not None:
            told = await self._config.script(request)
        return told or await _tell(request, say)

    async def close(self) -> None:
        return None


def _echo(request: Request) -> Answer:
    try:
        body = cast("dict[str, Any]", msgspec.json.decode(request.body))
    except msgspec.DecodeError as error:  # people's requests come unread, with numbers beyond any
        refused = {"message": f"The body cannot be read: {error}.", "type": "invalid_request_error", "param": None}
        return Answer(400, msgspec.json.encode({"error": {**refused, "code": None}}))
    match request.endpoint:
        case "/v1/chat/completions":
            text = _last_text(body.get("messages"))
            choice: dict[str, Any] = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            kind = "chat.completion"
        case "/v1/completions":
            text = str(body.get("prompt", ""))
            choice = {"text": text, "finish_reason": "stop"}
            kind = "text_completion"
        case _:
            return _embedding(request, body)
    words = len(text.split())
    usage = {"prompt_tokens": words, "completion_tokens": words, "total_tokens": 2 * words}
    answer = {
        "id": f"echo-{request.line}",
        "object": kind,
        "created": 0,
        "model": request.model,
        "choices": [{"index": 0, **choice}],
        "usage": usage,
    }
    return Answer(200, msgspec.json.encode(answer), f"echo-{request.line}", Usage(words, words))


async def _tell(request: Request, say: Say) -> Reply:
    """Tell an echo word by word, as a model would."""
    whole = _echo(request)
    if not whole.ok or request.endpoint not in (CHAT, COMPLETIONS):
        return whole
    answer = cast("dict[str, Any]", msgspec.json.decode(whole.body))
    choice, usage = cast("dict[str, Any]", answer.pop("choices")[0]), answer.pop("usage")
    chats = "message" in choice
    if chats:
        answer["object"] = "chat.completion.chunk"
    first = {"role": "assistant"}
    for piece in _WORDS.findall(choice["message"]["content"] if chats else choice["text"]):
        words = {"delta": {**first, "content": piece}} if chats else {"text": piece}
        first = {}
        await say(_chunk(answer, choices=[{"index": 0, **words, "logprobs": None, "finish_reason": None}]))
    end = {"delta": first} if chats else {"text": ""}
    await say(_chunk(answer, choices=[{"index": 0, **end, "logprobs": None, "finish_reason": "stop"}]))
    await say(_chunk(answer, choices=[], usage=usage))
    return msgspec.structs.replace(whole, body=b"")


def _chunk(head: dict[str, Any], **fields: object) -> bytes:
    return msgspec.json.encode({**head, **fields})


def _embedding(request: Request, body: dict[str, Any]) -> Answer:
    given = body.get("input")
    inputs = cast("list[Any]", given) if isinstance(given, list) else [given]
    data = [{"object": "embedding", "index": i, "embedding": [float(len(str(x)))]} for i, x in enumerate(inputs)]
    words = sum(len(str(x).split()) for x in inputs)
    answer = {
        "object": "list",
        "data": data,
        "model": request.model,
        "usage": {"prompt_tokens": words, "total_tokens": words},
    }
    return Answer(200, msgspec.json.encode(answer), f"echo-{request.line}", Usage(words, 0))


def _last_text(messages: object) -> str:
    if not isinstance(messages, list) or not messages:
        return ""
    last = cast("list[Any]", messages)[-1]
    content: object = cast("dict[str, Any]", last).get("content") if isinstance(last, dict) else last
    if isinstance(content, list):
        parts = [cast("dict[str, Any]", p) for p in cast("list[Any]", content) if isinstance(p, dict)]
        return " ".join(str(p.get("text", "")) for p in parts)
    return str(content or "")
