"""How a worker says an answer while it is being written: as chunks of one stream, not more often than is of use.

Source of the shapes: https://platform.openai.com/docs/api-reference/chat-streaming
"""

import secrets
from collections.abc import Callable
from time import perf_counter

import msgspec

from batchyard.clock import SystemClock
from batchyard.domain.result import Answer, Usage
from batchyard.workers.openai import Body, written_usage

PAUSE_SECONDS = 0.015
"""Between two chunks of one choice: no reader sees it, and a small model writes a token each millisecond."""


class Telling:
    """One answer on its way out. All its chunks have one id, and the last one has the usage."""

    def __init__(self, say: Callable[[bytes], None], kind: str, model: str, *, prefix: str) -> None:
        self._say = say
        self._id = f"{prefix}-{secrets.token_hex(16)}"
        self._head: Body = {"id": self._id, "object": kind, "created": int(SystemClock().now()), "model": model}

    def tell(self, place: int, choice: Body) -> None:
        """Say what is new of one choice."""
        whole = {"index": place, "logprobs": None, "finish_reason": None, **choice}
        self._say(msgspec.json.encode({**self._head, "choices": [whole]}))

    def end(self, usage: Usage) -> Answer:
        """Say what all of it took; the reply that ends the call."""
        self._say(msgspec.json.encode({**self._head, "choices": [], "usage": written_usage(usage)}))
        return Answer(200, b"", self._id, usage)


class Beat:
    """Whether it is time for the next chunk of a choice. The first one is due at once."""

    def __init__(self, pause_seconds: float = PAUSE_SECONDS) -> None:
        self._pause_seconds = pause_seconds
        self._next = 0.0

    def due(self) -> bool:
        return perf_counter() >= self._next

    def beaten(self) -> None:
        """A chunk was said."""
        self._next = perf_counter() + self._pause_seconds
