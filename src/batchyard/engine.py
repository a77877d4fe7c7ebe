"""The contract of an engine: request in, reply out.

An engine holds no work of its own: it answers what it was asked and forgets it. It never retries (the dispatcher does),
and it never raises for a request: a request that cannot be answered gets an Answer with its error status, or a Failure.

Some engines can also say an answer while they make it (`Streaming`), for people who wait for each. Batches never ask
for that.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol, runtime_checkable

from msgspec import Struct

from batchyard.domain.request import Request
from batchyard.domain.result import Reply


class Abilities(Struct, frozen=True, kw_only=True):
    """What an engine can do, known once it has started.

    `endpoints` are canonical paths; `models` the names that it answers to, None where any name may be tried (a remote
    API). `slots` is how many requests it works on at once, None where unknown: the dispatcher then finds out.
    `description` is one line for people ("llama.cpp, demo-q8_0.gguf, 8 slots, 2 threads").
    """

    endpoints: frozenset[str]
    models: frozenset[str] | None
    slots: int | None = None
    context_tokens: int | None = None
    sees_images: bool = False
    description: str = ""


class Engine(Protocol):
    """Who answers. Opened by `open(config)` of its module in `engines/`."""

    @property
    def restarts(self) -> int:
        """How often a process of the engine had to be started again; 0 where it has none."""
        ...

    async def start(self) -> Abilities:
        """Load or connect. Raises Unavailable, with a remedy, where it cannot start at all."""
        ...

    async def infer(self, request: Request) -> Reply:
        """Answer one request. Any number may be under way; cancelling the call gives the request up."""
        ...

    async def close(self) -> None:
        """Give everything back: processes, sockets, memory. May be called twice."""
        ...


Say = Callable[[bytes], Awaitable[None]]
"""Takes one piece of an answer; returns when it may take the next.

A piece is a JSON object in UTF-8, as OpenAI's wire has it in one event of a stream: a `chat.completion.chunk`, a
`text_completion`, or a typed event of a response. Chunks are those of a stream whose caller asked for its usage: the
last one has no choices, and `usage`.
"""


@runtime_checkable
class Streaming(Protocol):
    """An engine that can say an answer in pieces."""

    async def stream(self, request: Request, say: Say) -> Reply:
        """Answer one request piece by piece, and return how it ended.

        Where nothing was said, the reply is as `infer` would have brought it, whole: an engine is free to do so, and
        every refusal comes so. Once a piece was said, a good end is an Answer with the usage and an empty body, and
        anything else means that the answer broke off. What the engine has made is said without waiting for more.
        Cancelling the call, or an exception of `say`, gives the request up.
        """
        ...


async def stream(engine: Engine, request: Request, say: Say) -> Reply:
    """Ask for an answer in pieces; an engine that has none answers whole."""
    if isinstance(engine, Streaming):
        return await engine.stream(request, say)
    return await engine.infer(request)
