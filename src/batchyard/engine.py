"""The contract of an engine: request in, reply out.

An engine holds no work of its own: it answers what it was asked and forgets it. It never retries (the dispatcher does),
and it never raises for a request: a request that cannot be answered gets an Answer with its error status, or a Failure.
"""

from typing import Protocol

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
