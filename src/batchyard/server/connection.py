"""One connection: how large the head of a call may be, how long it may take, and what those hear who pass that.

A head is read before anybody knows who calls. Without limits whoever reaches the port could fill the memory with one,
or hold connections open by never ending it.

A large body may take a detour: while that lasts, the connection reads nothing itself; then it goes on behind it.
"""

import asyncio
import socket
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from typing import Any

from httptools import HttpRequestParser
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from batchyard.dialects.openai.errors import envelope
from batchyard.server.detour import DETOUR, Detour

HEAD_BYTES = 64 << 10
"""How long the head of a call may be: its path and all of its headers."""
HEAD_FIELDS = 128
HEAD_SECONDS = 30.0
"""How long the head of a call may take to come, from when the connection is open or its first byte is there."""
DETOUR_BYTES = 1 << 20
"""How much of a body must be left for a detour to be worth it."""


class Connection(HttpToolsProtocol):
    """A connection as uvicorn serves it, within limits.

    `_head` is how much of a head came, None while none is under way; `_began` whether one began in the bytes at hand;
    `_came` how much came of the body.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head: int | None = None
        self._began = False
        self._too_large = False
        self._timer: asyncio.TimerHandle | None = None
        self._came = 0
        self._rejoining = False
        self._detour: Detour | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().connection_made(transport)
        self.flow = self._flow = _Flow(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_ended()
        if self._detour is not None:
            self._detour.lose()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._began = False
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._head is not None and not self._began:
            self._head += len(data)
            if self._head > HEAD_BYTES:
                self._refuse_large()
                return
        if self._head is not None or not self._answering:
            self._expect_head()

    def on_message_begin(self) -> None:
        if self._rejoining:
            return
        super().on_message_begin()
        self._head = 0
        self._began = True
        self._came = 0

    def on_url(self, url: bytes) -> None:
        if not self._rejoining:
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._rejoining:
            return
        super().on_header(name, value)
        if len(self.headers) > HEAD_FIELDS:
            self._too_large = True
            raise ValueError  # the parser stops, and `send_400_response` answers

    def on_headers_complete(self) -> None:
        if self._rejoining:
            return
        self._head_ended()
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > HEAD_BYTES:
            self._too_large = True
            raise ValueError
        super().on_headers_complete()
        scope: Any = self.scope
        scope["extensions"] = {DETOUR: partial(self._on_detour, self.cycle)}

    def on_body(self, body: bytes) -> None:
        self._came += len(body)
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        """What uvicorn calls where the parser stops."""
        if self._too_large:
            self._refuse_large()
        else:
            self._refuse(400, "The bytes on this connection are no HTTP request.", None)

    @contextmanager
    def _on_detour(self, cycle: Any) -> Generator[Detour | None]:
        """Leave the rest of a call's body to a detour while the block lasts; None where that is not worth it."""
        left = self._left(cycle)
        sock = self._duplicate() if left >= DETOUR_BYTES else None
        if sock is None:
            yield None
            return
        self._flow.hold()
        detour = self._detour = Detour(sock, bytes(cycle.body), left)
        cycle.body.clear()
        try:
            yield detour
        finally:
            self._detour = None
            detour.end()
            self._came += left - detour.left
            self._go_on(cycle, detour)

    def _duplicate(self) -> socket.socket | None:
        """Our socket once more; None where its bytes are encrypted, or there is no room for it."""
        if self.transport.get_extra_info("sslcontext") is not None:
            return None
        try:
            return self.transport.get_extra_info("socket").dup()
        except OSError:
            return None

    def _left(self, cycle: Any) -> int:
        """How much of a call's body has yet to come; 0 where nobody knows."""
        if cycle is not self.cycle or not cycle.more_body or self.transport.is_closing():
            return 0
        length = dict(self.headers).get(b"content-length", b"")
        return int(length) - self._came if length.isdigit() else 0

    def _go_on(self, cycle: Any, detour: Detour) -> None:
        """Read on behind what a detour has read, as if it had been read here."""
        if detour.gone:
            cycle.disconnected = True
            self.transport.close()
            return
        cycle.body += detour.kept
        self.parser = _parser(self)
        if detour.left:
            self._rejoining = True
            self.parser.feed_data(b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % detour.left)
            self._rejoining = False
        else:
            self.on_message_complete()
        self._flow.release()

    @property
    def _answering(self) -> bool:
        """Whether an answer is under way."""
        cycle: Any = self.cycle  # None before the first call
        return cycle is not None and not cycle.response_complete

    def _expect_head(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(HEAD_SECONDS, self._too_late)

    def _head_ended(self) -> None:
        self._head = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_late(self) -> None:
        if self._head is None:
            self.transport.close()
        else:
            self._refuse(408, f"The head of your request was not whole after {HEAD_SECONDS:g} seconds.", None)

    def _refuse_large(self) -> None:
        limits = f"{HEAD_BYTES} bytes or {HEAD_FIELDS} headers"
        self._refuse(431, f"The path and headers of your request are more than {limits}.", "headers_too_large")

    def _refuse(self, status: int, message: str, word: str | None) -> None:
        """The last answer on this connection; none in the middle of another."""
        body = envelope(message, "invalid_request_error", None, word)
        head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
        if not self.transport.is_closing() and not self._answering:
            self.transport.write(STATUS_LINE[status] + head + body)
        self.transport.close()


class _Flow(FlowControl):
    """Reading, paused and resumed; while it is held, nobody resumes it."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__(transport)
        self._held = False

    def hold(self) -> None:
        self.pause_reading()
        self._held = True

    def release(self) -> None:
        self._held = False
        self.resume_reading()

    def resume_reading(self) -> None:
        if not self._held:
            super().resume_reading()


def _parser(connection: Connection) -> HttpRequestParser:
    """A parser as uvicorn makes it."""
    parser = HttpRequestParser(connection)
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser
