"""Sending an answer that comes in pieces: each goes out when it is there.

Nothing is sent before the first piece, so that what goes wrong until then has its proper status.
"""

import asyncio
from collections.abc import Awaitable, Callable

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from batchyard.dialects.openai.errors import envelope
from batchyard.dialects.openai.inference import broken_off
from batchyard.dialects.openai.stream import Telling
from batchyard.domain.result import Failure, Reply
from batchyard.engine import Say

EVENTS = "text/event-stream"
HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}
LAST_WORDS_SECONDS = 1.0
"""How long a server that ends waits for a caller to take the last event."""

STOPPED = envelope("The server stopped before the answer was whole.", "server_error", None, "server_stopped")

Ask = Callable[[Say, Receive], Awaitable[Reply]]


def why(reply: Reply | None) -> bytes:
    """Why an answer broke off, as OpenAI's envelope; None: the server stopped."""
    return STOPPED if reply is None else broken_off(reply)


class Told(Response):
    """`ask` asks the engine; `whole` makes the answer of a reply that came in no pieces.

    `why` says in the wire's words why an answer broke off, of the reply that ended it, None: the server stopped.
    """

    def __init__(
        self,
        ask: Ask,
        telling: Telling,
        whole: Callable[[Reply], Response],
        why: Callable[[Reply | None], bytes] = why,
        media_type: str = EVENTS,
    ) -> None:
        super().__init__(None, 200, HEADERS, media_type)
        del self.headers["content-length"]
        self._ask = ask
        self._telling = telling
        self._whole = whole
        self._why = why
        self._heard = False
        self._begun = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def say(piece: bytes) -> None:
            self._heard = True
            if event := self._telling.tell(piece):
                await self._begin(send)
                await send(_body(event))

        try:
            reply = await self._ask(say, receive)
        except asyncio.CancelledError:  # the server's time is up
            if not self._begun:
                raise
            async with asyncio.timeout(LAST_WORDS_SECONDS):
                await send(_body(self._telling.break_off(self._why(None)), last=True))
            return
        if self._begun or (self._heard and _ended(reply)):
            await self._begin(send)
            await send(_body(self._end(reply), last=True))
        else:
            await self._whole(reply)(scope, receive, send)

    async def _begin(self, send: Send) -> None:
        if not self._begun:
            self._begun = True
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})

    def _end(self, reply: Reply) -> bytes:
        return self._telling.end() if _ended(reply) else self._telling.break_off(self._why(reply))


def _ended(reply: Reply) -> bool:
    return not isinstance(reply, Failure) and reply.ok


def _body(data: bytes, *, last: bool = False) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": not last}
