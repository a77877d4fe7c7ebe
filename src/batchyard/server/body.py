"""Reading a call's body whole, within a limit."""

from collections.abc import Callable
from typing import TypeVar

from starlette.requests import Request

from batchyard.domain.errors import TooLarge
from batchyard.server.house import house_of

T = TypeVar("T")


async def read_call(request: Request, read: Callable[[bytes, int], T]) -> T:
    """The JSON body of a call, as `read` reads it within a depth."""
    limits = house_of(request).limits
    return read(await read_body(request, limits.call_bytes), limits.json_depth)


async def read_body(request: Request, limit_bytes: int) -> bytes:
    """The body of a call. Raises TooLarge as soon as it is known to pass the limit."""
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared) > limit_bytes:
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
