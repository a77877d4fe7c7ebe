"""Sending a file: from the disk, piece by piece, no further than the caller listens."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from batchyard.server.gone import unless_gone

Chunks = Callable[[], AsyncGenerator[bytes, None]]


class Bytes(Response):
    """An answer whose body is read while it is sent. `size` is how many bytes `chunks` will bring."""

    def __init__(
        self, chunks: Chunks, size: int, status: int, headers: dict[str, str], media_type: str | None = None
    ) -> None:
        more = {"content-length": str(size), "content-type": media_type or "application/octet-stream"}
        super().__init__(None, status, {**headers, **more})
        self._chunks = chunks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if scope["method"] != "HEAD":
            await unless_gone(lambda: self._pour(send), receive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _pour(self, send: Send) -> None:
        async with aclosing(self._chunks()) as chunks:
            async for chunk in chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
