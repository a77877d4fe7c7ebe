"""One connection: how large the head of a call may be, how long it may take, and what those hear who pass that.

A head is read before anybody knows who calls. Without limits whoever reaches the port could fill the memory with one,
or hold connections open by never ending it.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from batchyard.dialects.openai.errors import envelope

HEAD_BYTES = 64 << 10
"""How long the head of a call may be: its path and all of its headers."""
HEAD_FIELDS = 128
HEAD_SECONDS = 30.0
"""How long the head of a call may take to come, from when the connection is open or its first byte is there."""


class Connection(HttpToolsProtocol):
    """A connection as uvicorn serves it, within limits.

    `_head` is how much of a head came, None while none is under way; `_began` whether one began in the bytes at hand.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head: int | None = None
        self._began = False
        self._too_large = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_ended()
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
        super().on_message_begin()
        self._head = 0
        self._began = True

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        if len(self.headers) > HEAD_FIELDS:
            self._too_large = True
            raise ValueError  # the parser stops, and `send_400_response` answers

    def on_headers_complete(self) -> None:
        self._head_ended()
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > HEAD_BYTES:
            self._too_large = True
            raise ValueError
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """What uvicorn calls where the parser stops."""
        if self._too_large:
            self._refuse_large()
        else:
            self._refuse(400, "The bytes on this connection are no HTTP request.", None)

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
