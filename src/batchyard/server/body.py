"""Reading a call's body whole, within a limit."""

from collections.abc import AsyncGenerator, Callable
from typing import TypeVar

from starlette.requests import Request

from batchyard.domain.errors import TooLarge
from batchyard.server.house import house_of

T = TypeVar("T")
Reading = AsyncGenerator[bytes, None]


async def read_call(request: Request, read: Callable[[bytes, int], T]) -> T:
    """The JSON body of a call, as `read` reads it within a depth."""
    limits = house_of(request).limits
    return read(await read_body(request, limits.call_bytes), limits.json_depth)


def pieces(request: Request) -> Reading:
    """The body of a call as it comes, to be kept as it is."""
    return request.stream()


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
