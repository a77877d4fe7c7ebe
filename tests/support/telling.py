"""Streams that go on when a test says so."""

import asyncio
from typing import Any

import msgspec

from batchyard.domain.request import Request
from batchyard.domain.result import Answer, Reply, Usage
from batchyard.engine import Say


def piece(text: str | None = None, why: str | None = None, **fields: Any) -> bytes:
    """A chunk of a chat."""
    choice = {"index": 0, "delta": {} if text is None else {"content": text}, "logprobs": None, "finish_reason": why}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "theirs"}
    return msgspec.json.encode({**head, "choices": [choice], **fields})


USAGE = piece(choices=[], usage={"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5})
END = Answer(200, b"", "r", Usage(3, 2))


class Halting:
    """Says "one", waits to be let go, then says "two" and ends; `reply` ends it otherwise. `asked` counts requests."""

    def __init__(self, reply: Reply | None = None) -> None:
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        self.given_up = asyncio.Event()
        self.asked = 0
        self._reply = reply

    async def __call__(self, request: Request, say: Say) -> Reply:
        self.asked += 1
        await say(piece("one"))
        self.begun.set()
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.given_up.set()
            raise
        if self._reply is not None:
            return self._reply
        await say(piece(" two"))
        await say(piece(why="stop"))
        await say(USAGE)
        return END
