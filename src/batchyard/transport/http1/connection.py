"""One connection, one exchange at a time: bytes out, an answer in, whole or as it comes.

A parser that is fed by the peer must not be led on: whatever arrives unasked, twice, or without end closes the
connection. Source: RFC 9112 (message framing in section 6, closing in section 9); the parser is llhttp's.
"""

import asyncio
from collections.abc import Callable
from typing import cast

import httptools

from batchyard.transport.http1.encoding import decoded
from batchyard.transport.http1.exchange import BadAnswer, HttpError, Limits, Lost, Received, Stale, TooLarge
from batchyard.transport.http1.flow import Flow

WHOLE_BYTES = 256 << 10
"""Bodies up to this are handed to the transport at once; longer ones in pieces of this, as it takes them."""


class Connection(asyncio.Protocol):
    """A keep-alive connection. Made by `loop.create_connection`; `send` may be called while it is `open` and idle."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, limits: Limits, on_lost: Callable[["Connection"], object]
    ) -> None:
        self._loop = loop
        self._limits = limits
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._waiter: asyncio.Future[Received] | None = None
        self._flow: Flow | None = None
        self._answers = 0
        self._unsent: memoryview | None = None
        self._paused = False
        self.open = False
        self.idle_since = 0.0
        self._expect()

    def _expect(self) -> None:
        """Forget the last answer: the next byte begins a new one."""
        self._headers: dict[bytes, bytes] = {}
        self._body: bytes | bytearray = b""
        self._fruitless = 0
        self._status = 0
        self._head_done = False
        self._whole = False
        self._excess = False

    # What the pool does with it

    def send(self, head: bytes, body: bytes | None) -> asyncio.Future[Received]:
        """Send one request; the future brings its answer, or an HttpError."""
        assert self._waiter is None and self._flow is None
        self._waiter = self._loop.create_future()
        self._write(head, body)
        return self._waiter

    def send_for_flow(self, head: bytes, body: bytes) -> Flow:
        """Send one request whose answer is read while it comes; `begun` brings its head, or an HttpError."""
        assert self._waiter is None and self._flow is None
        self._flow = Flow(self._loop, self._limits, self._hold)
        self._write(head, body)
        return self._flow

    def _write(self, head: bytes, body: bytes | None) -> None:
        transport = self._transport
        assert transport is not None
        if body is None:
            transport.write(head + b"\r\n")
        elif len(body) <= WHOLE_BYTES:
            transport.write(b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body))
        else:
            transport.write(b"%bcontent-length: %d\r\n\r\n" % (head, len(body)))
            self._unsent = memoryview(body)
            self._push()

    def abort(self) -> None:
        """Close at once; an answer that is still due fails as lost."""
        self.open = False
        self._unsent = None
        if self._transport is not None:
            self._transport.abort()

    # What the transport tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpResponseParser(self)
        self.open = True

    def data_received(self, data: bytes) -> None:
        waiter, parser = self._waiter, self._parser
        if parser is None or (self._flow is None and (waiter is None or waiter.done())):
            self.abort()  # nobody asked for this: the peer is out of step
            return
        self._fruitless += len(data)
        try:
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(BadAnswer(f"The answer is not proper HTTP: {error}."))
            return
        if self._excess:
            self._fail(BadAnswer("More came back than one answer."))
        elif len(self._body) > self._limits.answer_bytes or (
            self._flow is not None and self._flow.size > self._limits.answer_bytes
        ):
            self._fail(TooLarge(f"The answer is larger than {self._limits.answer_bytes} bytes."))
        elif self._whole:
            self._deliver()
        elif self._fruitless > self._limits.header_bytes:
            self._fail(TooLarge(f"More than {self._limits.header_bytes} bytes came back without any body."))

    def eof_received(self) -> bool:
        self.open = False
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        self._unsent = None
        if self._flow is not None or (self._waiter is not None and not self._waiter.done()):
            if exc is None and self._ends_with_the_connection():
                self._deliver()
            else:
                self._fail(self._loss(exc))
        self._transport = self._parser = None  # each holds us: no cycle is left for the collector
        self._on_lost(self)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._push()

    # What the parser tells

    def on_message_begin(self) -> None:
        if self._whole:
            self._excess = True

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        self._head_done = True
        self._status = cast("httptools.HttpResponseParser", self._parser).get_status_code()
        if self._flow is not None and self._status >= 200:
            self._flow.begin(self._status, self._headers)

    def on_body(self, body: bytes) -> None:
        self._fruitless = 0
        if self._flow is not None:
            self._flow.feed(body)
            return
        if not self._body:
            self._body = body
            return
        if isinstance(self._body, bytes):
            self._body = bytearray(self._body)
        self._body += body

    def on_message_complete(self) -> None:
        if self._status < 200:  # "wait" or "hints": the answer itself is still to come
            self._headers.clear()
            self._head_done = False
            return
        self._whole = True
        if not cast("httptools.HttpResponseParser", self._parser).should_keep_alive():
            self.open = False

    # How an exchange ends

    def _deliver(self) -> None:
        if self._flow is not None:
            self._end_flow(self._flow)
            return
        waiter, body = self._waiter, self._body
        if waiter is None:
            return
        headers = self._headers
        if b"content-encoding" in headers:
            try:
                body = decoded(body, headers.pop(b"content-encoding"), self._limits)
            except BadAnswer as error:
                self._fail(error)
                return
        received = Received(self._status, headers, bytes(body))
        self._waiter = None
        self._answers += 1
        self._expect()
        if self._unsent is not None:  # answered before it had read all: the rest must not be taken for a request
            self.abort()
        waiter.set_result(received)

    def _end_flow(self, flow: Flow) -> None:
        self._flow = None
        self._answers += 1
        self._expect()
        if self._unsent is not None:
            self.abort()
        flow.end()

    def _fail(self, error: HttpError) -> None:
        waiter, self._waiter = self._waiter, None
        flow, self._flow = self._flow, None
        self.abort()
        if flow is not None:
            flow.fail(error)
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)

    def _loss(self, exc: Exception | None) -> Lost:
        why = f" ({type(exc).__name__})" if exc is not None else ""
        if self._status or self._headers or self._fruitless:
            return Lost(f"The connection broke in the middle of the answer{why}.")
        kind = Stale if self._answers else Lost
        return kind(f"The connection was closed without an answer{why}.")

    def _ends_with_the_connection(self) -> bool:
        """Is the end of the connection the end of this answer, as it says no length?"""
        chunked = b"chunked" in self._headers.get(b"transfer-encoding", b"").lower()
        return self._head_done and self._status >= 200 and not chunked and b"content-length" not in self._headers

    def _hold(self, held: bool) -> None:
        """Let the other side wait while a reader is behind."""
        if self._transport is not None and not self._transport.is_closing():
            if held:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def _push(self) -> None:
        while self._unsent is not None and not self._paused and self._transport is not None:
            piece, rest = self._unsent[:WHOLE_BYTES], self._unsent[WHOLE_BYTES:]
            self._unsent = rest if len(rest) else None
            self._transport.write(piece)
