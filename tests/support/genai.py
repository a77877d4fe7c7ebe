"""The official Gemini client against a test's server, and engines that say what a test wrote."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import msgspec
from google import genai
from google.genai import client as parts
from google.genai import errors

from batchyard.domain.request import Request
from batchyard.domain.result import Answer, Reply
from batchyard.engine import Say
from tests.support.serving import Live

Json = dict[str, Any]


def client_of(server: Live, *, key: str | None = None, version: str | None = None, path: str = "") -> genai.Client:
    """A client that knows only the base URL, a key, and perhaps a version."""
    options = {"base_url": server.url + path} | ({} if version is None else {"api_version": version})
    return genai.Client(api_key=key or server.secret, http_options=options)  # pyright: ignore[reportArgumentType]


@asynccontextmanager
async def talking(server: Live, **options: Any) -> AsyncGenerator[parts.AsyncClient]:
    """The asynchronous half of a client."""
    client = client_of(server, **options)
    try:
        async with client.aio as talk:
            yield talk
    finally:
        client.close()


def details_of(error: errors.APIError) -> Json:
    """The only detail of an error."""
    answer: Any = cast("Any", error).details
    (detail,) = answer["error"]["details"]
    return detail


class Asked:
    """An engine's script that answers with one chat, and keeps what it was asked."""

    def __init__(self, message: Json | None = None, **rest: Any) -> None:
        self.bodies: list[Json] = []
        self.finish = rest.pop("finish_reason", "stop")
        self.logprobs = rest.pop("logprobs", None)
        self.status = rest.pop("status", 200)
        self.message = {"role": "assistant", "content": "Hello.", **(message or {})}
        self.rest = rest

    @property
    def body(self) -> Json:
        return self.bodies[-1]

    async def __call__(self, request: Request) -> Reply:
        self.bodies.append(msgspec.json.decode(request.body))
        choice = {"index": 0, "message": self.message, "finish_reason": self.finish, "logprobs": self.logprobs}
        usage = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
        answer = {"id": "chatcmpl-1", "object": "chat.completion", "choices": [choice], "usage": usage, **self.rest}
        return Answer(self.status, msgspec.json.encode(answer))


def telling(*deltas: Json, ends: Reply | None = None, finish: str = "stop") -> Callable[[Request, Say], Any]:
    """An engine's stream of these deltas, ended by its reason and its usage, or as `ends` says."""

    async def tell(request: Request, say: Say) -> Reply:
        for delta in deltas:
            await say(_chunk(choices=[{"index": 0, "delta": delta, "finish_reason": None}]))
        if ends is not None:
            return ends
        await say(_chunk(choices=[{"index": 0, "delta": {}, "finish_reason": finish}]))
        await say(_chunk(choices=[], usage={"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}))
        return Answer(200, b"")

    return tell


def _chunk(**fields: Any) -> bytes:
    return msgspec.json.encode({"id": "chatcmpl-1", "object": "chat.completion.chunk", **fields})
