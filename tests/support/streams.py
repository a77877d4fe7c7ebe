"""Hearing an engine's stream, and adding its pieces up."""

from typing import Any

import msgspec

from batchyard.domain.request import Request
from batchyard.domain.result import Reply
from batchyard.engine import Engine, stream

Json = dict[str, Any]


async def hear(engine: Engine, request: Request) -> tuple[list[Json], Reply]:
    """All pieces of a stream, and how it ended."""
    pieces: list[Json] = []

    async def say(piece: bytes) -> None:
        pieces.append(msgspec.json.decode(piece))

    return pieces, await stream(engine, request, say)


def choices_of(pieces: list[Json], index: int = 0) -> list[Json]:
    return [choice for piece in pieces for choice in piece["choices"] if choice["index"] == index]


def words(pieces: list[Json], index: int = 0, key: str = "content") -> str:
    """What a choice says, whether of a chat or a completion."""
    return "".join(c["text"] if "text" in c else c["delta"].get(key) or "" for c in choices_of(pieces, index))


def whys(pieces: list[Json], index: int = 0) -> list[str | None]:
    """Why a choice ended, as each of its chunks says it."""
    return [choice["finish_reason"] for choice in choices_of(pieces, index)]
