"""Reading a call's body: whole, within a limit; or as it arrives, into whatever takes it."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

from starlette.requests import Request

from batchyard.blob import Put, Takes
from batchyard.domain.errors import TooLarge
from batchyard.server.detour import Detour, detour_of
from batchyard.server.house import house_of

T = TypeVar("T")
Through = Callable[[bytes], Iterator[bytes]]
"""What becomes of the next bytes of a body on their way; called by one thread at a time, not always the same."""


async def pour(request: Request, into: Takes, through: Through = lambda data: iter((data,))) -> None:
    """Pour a call's body into what takes it, no faster than it does; the rest of a large one takes a detour.

    Raises ClientDisconnect, and what `into` and `through` raise.
    """
    async for chunk in request.stream():
        for piece in through(chunk):
            await into.write(piece)
        with detour_of(request) as rest:
            while rest is not None and not rest.whole:
                await rest.ready()
                await into.fill(partial(_turn, rest, through))


def _turn(rest: Detour, through: Through, put: Put) -> None:
    for data in rest.read():
        for piece in through(data):
            put(piece)


async def read_call(request: Request, read: Callable[[bytes, int], T]) -> T:
    """The JSON body of a call, as `read` reads it within a depth."""
    limits = house_of(request).limits
    return read(await read_body(request, limits.call_bytes), limits.json_depth)


def announced_bytes(request: Request) -> int | None:
    """How long the body of a call is; None where that is not said."""
    length = request.headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() else None


async def read_body(request: Request, limit_bytes: int) -> bytes:
    """The body of a call. Raises TooLarge as soon as it is known to pass the limit."""
    declared = announced_bytes(request)
    if declared is not None and declared > limit_bytes:
        raise _too_large(limit_bytes)
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit_bytes:
            raise _too_large(limit_bytes)
        chunks.append(chunk)
    return b"".join(chunks)


def _too_large(limit_bytes: int) -> TooLarge:
    return TooLarge(
        f"The body of your request is larger than {limit_bytes} bytes.",
        reason="request_too_large",
        remedy="Send less in one call; large inputs belong into a file.",
    )
