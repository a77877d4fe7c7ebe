"""`/v1/batches/{id}/events` and `/v1/events`: what happens to batches, as server-sent events."""

import asyncio
from contextlib import suppress
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from batchyard.domain.access import Caller
from batchyard.server.access import caller_of
from batchyard.server.gone import Gone, unless_gone
from batchyard.server.house import house_of
from batchyard.service.feed import Feed, Listener, Told

BEAT_SECONDS: Final = 15.0
STALLED_SECONDS: Final = 30.0
"""How long a listener may take to read what was sent before it is shut out."""
PARTING_SECONDS: Final = 0.5

_BEAT: Final = b": \n\n"
_READY: Final = b"event: ready\ndata: {}\n\n"


async def get_events(request: Request) -> Response:
    """What happens to one batch, until it has ended."""
    caller = await caller_of(request)
    return EventStream(house_of(request).feed, caller, request.path_params["id"], _last_seen(request))


async def get_all_events(request: Request) -> Response:
    """What happens to the batches of a project."""
    caller = await caller_of(request)
    return EventStream(house_of(request).feed, caller, None, _last_seen(request))


class EventStream(Response):
    """An answer that lasts while its caller listens."""

    media_type = "text/event-stream"

    def __init__(self, feed: Feed, caller: Caller, id: str | None, after: int | None) -> None:
        super().__init__(None, headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._feed = feed
        self._caller = caller
        self._id = id
        self._after = after

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._feed.listening(self._caller, self._id, self._after) as listener:
            if listener.over:
                await Response(None, 204)(scope, receive, send)
                return
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            if scope["method"] != "HEAD":
                await unless_gone(lambda: self._tell(listener, send), receive)
            await _part(send)

    async def _tell(self, listener: Listener, send: Send) -> None:
        """Send until the batch has ended, or the listener is shut out: then whatever is under way is left."""
        async with asyncio.TaskGroup() as group:
            telling = group.create_task(self._pour(listener, send))
            closing = group.create_task(_when_closed(listener))
            closing.add_done_callback(lambda _: telling.cancel())
            telling.add_done_callback(lambda _: closing.cancel())

    async def _pour(self, listener: Listener, send: Send) -> None:
        for told in listener.first:
            await _send(send, _event(told))
            if told.last and self._id is not None:
                return
        if self._id is None:
            await _send(send, _READY)
        while not listener.closed.is_set():
            told = await listener.next(BEAT_SECONDS)
            await _send(send, _BEAT if told is None else _event(told))
            if told is not None and told.last and self._id is not None:
                return


async def _when_closed(listener: Listener) -> None:
    await listener.closed.wait()


async def _send(send: Send, data: bytes) -> None:
    try:
        async with asyncio.timeout(STALLED_SECONDS):
            await send({"type": "http.response.body", "body": data, "more_body": True})
    except TimeoutError:
        raise Gone from None


async def _part(send: Send) -> None:
    """End the answer, if the caller reads so far."""
    with suppress(TimeoutError):
        async with asyncio.timeout(PARTING_SECONDS):
            await send({"type": "http.response.body", "body": b"", "more_body": False})


def _event(told: Told) -> bytes:
    number = b"" if told.number is None else b"id: %d\n" % told.number
    return b"%bevent: %b\ndata: %b\n\n" % (number, told.kind.encode(), told.data)


def _last_seen(request: Request) -> int | None:
    """The number of the last event that the caller has seen; what is no number counts as none."""
    word = request.headers.get("last-event-id", "")
    return int(word) if word.isascii() and word.isdigit() and len(word) <= 18 else None


ROUTES = [Route("/batches/{id}/events", get_events), Route("/events", get_all_events)]
"""Beside `openai.batches.ROUTES`."""
